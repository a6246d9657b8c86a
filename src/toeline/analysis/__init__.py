"""Phase 1: what a dataset holds, and what is wrong with it."""
