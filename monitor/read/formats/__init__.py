"""One module for each format; `monitor.read.names.FORMATS` lists them, and each has `open_signals`."""
