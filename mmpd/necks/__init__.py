"""Necks registered in mmdet's MODELS."""
