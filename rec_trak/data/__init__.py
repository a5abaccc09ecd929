"""Click logs and articles -> rows in a fixed order -> batches of tensors. Not here: anything that knows weights."""
