"""Stage 2: the legal conditions of each object with their probabilities."""
