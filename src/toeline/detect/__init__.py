"""Stage 1: where the objects are and of what type; never in what condition."""
