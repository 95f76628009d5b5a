"""Detection: the main task."""
