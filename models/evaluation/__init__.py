"""Scores of a bundle, and how they are shown."""
