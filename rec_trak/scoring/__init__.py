"""Stored gradients -> leverage, kernel, ridge, the ends of rankings. Not here: files, rows, what a number is of."""
