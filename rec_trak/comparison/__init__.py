"""Two finished runs against each other, clean and poisoned: the rows that stand in both. Not here: either's scores."""
