"""Metrics, measuring, predicting, cost."""
