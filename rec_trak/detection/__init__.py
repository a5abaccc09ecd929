"""How well a ranking finds poison, next to baselines, and a click log without it. Not here: influence."""
