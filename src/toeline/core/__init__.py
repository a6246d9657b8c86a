"""The nouns. Standard library only: every other room speaks in these words and none of them is imported here."""
