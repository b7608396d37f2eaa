"""Direct Electron's camera server as a source."""
