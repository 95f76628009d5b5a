"""The built-in data set and the demo chain."""
