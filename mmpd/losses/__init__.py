"""Distillation losses: pure functions, each with its equation and source. The modules that hold weights are in terms.py."""
