"""The parts of the page, one a file: each is a `root`, its sources, and `update(...)`."""
