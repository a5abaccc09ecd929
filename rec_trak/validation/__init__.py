"""Is a ranking right? Validation by retraining and by exact leave-one-out. Not here: trust without either."""
