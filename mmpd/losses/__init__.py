"""Distillation losses: pure functions, each with its equation and source. terms.py has the modules with weights."""
