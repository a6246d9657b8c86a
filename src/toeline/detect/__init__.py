"""Stage 1: a photograph in, bounding boxes of object types out."""
