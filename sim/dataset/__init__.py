"""Labelled data sets to learn from."""
