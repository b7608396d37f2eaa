"""Outlines of particles: which points lie inside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Points = npt.NDArray[np.float64]

SHAPES = ("sphere", "ellipsoid", "rod", "faceted", "irregular")


def inside(points: Points, shape: str, diameter_nm: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which of the points (N, 3) lie in a particle of the given shape, of about the given diameter [nm]."""
    radius = diameter_nm / 2
    unit = points / radius
    if shape == "sphere":
        return np.asarray((unit**2).sum(axis=1) <= 1)
    if shape == "ellipsoid":
        axes = np.clip(rng.normal(1, 0.12, 3), 0.75, 1.2)
        turned = unit @ Rotation.random(random_state=rng.integers(2**31)).as_matrix()
        return np.asarray(((turned / axes) ** 2).sum(axis=1) <= 1)
    if shape == "rod":
        long = rng.uniform(1.15, 1.5)
        lateral = np.hypot(unit[:, 0], unit[:, 1]) / (0.95 / np.sqrt(long))
        return np.asarray((lateral**4 + (unit[:, 2] / long) ** 4) <= 1)
    if shape == "faceted":
        angles = np.arange(6) * np.pi / 3 + (np.pi / 6 if rng.random() < 0.5 else 0.0)
        sides = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(6)])
        pyramids = [[np.cos(a) * 0.82, np.sin(a) * 0.82, s * 0.57] for a in angles[::2] for s in (1, -1)]
        normals = np.vstack([sides, [[0, 0, 1], [0, 0, -1]], pyramids])
        limits = rng.uniform(0.82, 1.0, len(normals))
        return np.asarray((unit @ normals.T <= limits).all(axis=1) & ((unit**2).sum(axis=1) <= 1.3))
    if shape == "irregular":
        length = np.linalg.norm(unit, axis=1)
        direction = unit / np.maximum(length, 1e-9)[:, None]
        waves = rng.normal(0, 2.2, (6, 3))
        bumps = np.cos(direction @ waves.T + rng.uniform(0, 2 * np.pi, 6)) @ rng.normal(0, 0.07, 6)
        return np.asarray(length <= np.clip(0.97 + bumps, 0.6, 1.25))
    raise ValueError(f"no shape {shape}; there are {', '.join(SHAPES)}")
