"""The code bases whose checkpoints are read as they are. Not here: reading files, or any code base's own names.

A code base is a module with five names:

- `NAME`: its name in YAML.
- `recognise(names)`: the architecture (`nrms`, `naml`, `lstur`) whose parameters these are, with or without the
  prefix `model.`; else None.
- `translate(architecture, state, where)`: their state dict under our names (`tables.Translated`), strictly.
- `chosen(settings, architecture, where)`: the settings that decide scores, flat, from a settings file as its users have
  it (a mapping, with sections or classes where its files have such).
- `describe(settings, state, articles, where)`: our `ModelConfig` for their model, from what `chosen` gave,
  the shapes of their state dict (as in the file, after `translate` found it complete) and the articles; raises
  ConfigError where a setting that it needs is missing.

One whose checkpoints lack tensors also has `fixed(settings, config, where)`, those tensors under our names. One whose
checkpoints say what they were trained with has `carried(extras)`, that as `chosen` gives settings, and
`decisive(architecture, settings)`: the keys of it that change a score beyond what the tensors tell, and those that name
files. If such a checkpoint never says all, `LEFT_OUT` is what it leaves out, in words.
One that trains on a part of the rows has `READING`, fields of `Reading` that say which.
Where its validation AUC is another than the mean over impressions, `VALIDATION` says which (`tables.Validation`).
"""
