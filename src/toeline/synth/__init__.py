"""Draws embankment scenes with their ground truth: photographs, labels and masks."""
