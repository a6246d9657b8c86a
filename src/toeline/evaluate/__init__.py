"""Findings against the truth, from saved files alone: no model and no photograph is needed here."""
