"""Metrics and results. No model, no image."""
