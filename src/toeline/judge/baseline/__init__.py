"""A judge without a language model: measurements of boxes and pixels, read by a linear model and by trees."""
