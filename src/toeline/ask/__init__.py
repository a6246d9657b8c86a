"""What the model is shown. Receives relations as values; knows no truth and no model."""

from toeline.ask.ask import ask

__all__ = ["ask"]
