"""Regions whose class an operator corrected, as a forest learns from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Corrections:
    """Regions whose class an operator told, in order of time; one row a region."""

    features: npt.NDArray[np.float32]
    """(R, F)"""
    names: list[str]
    """Of the features."""
    classes: npt.NDArray[np.int64]
    """(R,) index into `CLASSES`: what the operator says."""
    groups: npt.NDArray[np.str_]
    """(R,) what was seen together, such as a frame; never on both sides of a comparison."""
    source: str
    """Where they come from, for the record."""
