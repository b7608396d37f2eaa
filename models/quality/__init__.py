"""Figures of frame quality, and how much a frame is like those that the models were trained on."""
