"""Distillation terms: thin registered modules that hold weights and call one pure loss each."""
