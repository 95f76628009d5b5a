"""Data sets, the paired pipeline and the batch preprocessor."""
