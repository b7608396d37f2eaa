"""Scores of a bundle, and their tables and pictures."""
