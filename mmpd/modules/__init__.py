"""Trainable parts registered in mmdet's MODELS."""
