"""Comparisons and measurements of what a session computes; each is a command, and no session imports them."""
