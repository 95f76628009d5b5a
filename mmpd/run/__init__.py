"""Stage → training: the stages in order, locks, seeds, processes."""
