"""Specimens: materials, stacking sequences, particles, carbon films, and the rule of the truth."""
