"""Toeline reads photographs of embankments: what stands there, where, and in what condition."""

__version__ = "0.1.0"
