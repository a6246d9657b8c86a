"""What the model is shown: relations, crops and words. Sees no ground truth and no model."""
