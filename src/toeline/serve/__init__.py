"""The service: a store of findings and decisions, the API over it, and the labels that come back."""
