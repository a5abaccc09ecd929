"""Other people's files -> tensors and settings, without running anything in them. Not here: the modules they fit."""
