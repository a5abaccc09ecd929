"""Click logs and articles, read into tables of a fixed order. Not here: anything that knows of a model's weights."""
