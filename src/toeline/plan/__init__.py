"""Will it fit? Memory and time of a judge on a device, from the numbers of its config, before anything is loaded."""
