"""Records and rules that every room shares."""
