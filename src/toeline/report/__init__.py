"""For people: marked pictures, tables, one page, and the folder that holds them. Sees no truth and no model."""
