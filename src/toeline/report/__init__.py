"""Pages, tables, plots, marked pictures and maps."""
