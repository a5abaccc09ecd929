"""The commands, a module each: flags, what is called, what is printed. Not here: any work, or how one is chosen.

A command is a module with `add_flags(parser)` and `run(args)`; its docstring is its help. It imports what it needs in
`run`, so that help and a mistyped flag answer at once.
"""
