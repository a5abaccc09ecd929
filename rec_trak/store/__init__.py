"""The save directory: what it was made from, who may write, traker's maps made safe. Not here: what is in them."""
