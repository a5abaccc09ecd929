"""A run's folder: made by scoring, and opened again when finished. Not here: influence, or judging what was found."""
