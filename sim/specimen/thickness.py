"""Mass thickness of a specimen along the beam."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sim.specimen.draw import Specimen

GOLD_ATOMS_PER_NM3 = 58.98
"""Four atoms in a cell of 0.4078³ nm³."""
SMOOTH_NM = 0.15


def mass_thickness(specimen: Specimen, gpts: int) -> npt.NDArray[np.float32]:
    """Thickness (gpts, gpts) of a specimen in nm of gold, each atom weighted by Z^(3/2).

    That is how the elastic cross-section of an atom grows with its number in Lenz's model (Reimer and Kohl,
    *Transmission Electron Microscopy*, ch. 5). Smoothed, so that single columns do not show.
    """
    positions, numbers = specimen.atoms()
    pixel = specimen.side_nm / gpts
    index = np.floor(positions[:, :2] / pixel).astype(int) % gpts
    weight = (numbers / 79) ** 1.5 / (GOLD_ATOMS_PER_NM3 * pixel**2)
    total = np.bincount(index[:, 0] * gpts + index[:, 1], weight, gpts * gpts).reshape(gpts, gpts)
    sigma = SMOOTH_NM / pixel
    margin = int(4 * sigma) + 1
    padded = cv2.GaussianBlur(np.pad(total, margin, mode="wrap").astype(np.float32), (0, 0), sigma)
    return np.asarray(padded[margin:-margin, margin:-margin])
