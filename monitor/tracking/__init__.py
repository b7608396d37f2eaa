"""Follows particles from frame to frame: pure functions and one `Tracker` without any input or output."""
