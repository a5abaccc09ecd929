"""The code bases whose checkpoints are read as they are. Not here: reading files, or any code base's own names.

A code base is a module with four names:

- `NAME`: its name in YAML.
- `recognise(names)`: the architecture (`nrms`, `naml`, `lstur`) whose parameters these are, with or without the
  prefix `model.`; else None.
- `translate(architecture, state, where)`: their state dict under our names (`tables.Translated`), strictly.
- `describe(settings, state, articles, where)`: our `ModelConfig` for their model, from their settings file (a mapping),
  the shapes of their state dict (as in the file, after `translate` found it complete) and the articles; raises
  ConfigError where a setting that it needs is missing.

One whose checkpoints lack tensors has a fifth: `fixed(settings, config, where)`, those tensors under our names.
"""
