"""Memory and time of a model on a device, before anything is downloaded."""
