"""Checks of the simulation: against known physics, as pictures, beside real frames."""
