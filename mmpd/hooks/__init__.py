"""Hooks registered in mmdet's HOOKS."""
