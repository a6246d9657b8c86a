"""Stage 2: scores the answers of a sheet's questions. Knows words and pixels; knows no truth and no relations."""
