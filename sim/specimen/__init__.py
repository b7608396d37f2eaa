"""Simulated truth: what a particle is made of, how its layers are stacked, what lies under it, and what is
true of it."""
