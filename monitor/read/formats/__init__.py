"""One module a format; each has `open_signals`, and `monitor.read.names` lists it."""
