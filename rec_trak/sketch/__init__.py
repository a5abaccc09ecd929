"""Gradients -> K numbers a row by one seeded map, whatever evaluates it. Not here: gradients, or where numbers go."""
