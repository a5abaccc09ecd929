"""A run's input -> influence of every training click, the only driver of traker. Not here: ranks, files of results."""
