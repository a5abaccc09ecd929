"""How well a ranking finds poison: labels, baselines, metrics, and a whole run measured. Not here: influence."""
