"""Per-row gradients, as factors or whole, by the path that a preflight chose. Not here: sketching or storing them."""
