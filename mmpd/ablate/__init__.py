"""Does distillation pay here? Plain controls against each term."""
