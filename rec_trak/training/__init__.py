"""A training as its YAML describes it, and what it is measured by. Not here: attribution, or reading checkpoints."""
