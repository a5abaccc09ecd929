"""Whether a ranking can be believed, without retraining. Not here: validation, which retrains."""
