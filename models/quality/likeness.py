"""How much a frame is like those that a bundle was trained on, with a stated rate of false alarms.

A bundle may carry a reference (`models.training.likeness` makes it): of frame statistics and of particles'
features, each with the mean and the spread of its values in the training, and the distances that frames of the
validation split have from them. A new frame's distance is compared with these: the share of them that is as large
or larger is its likeness, a conformal p-value (Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random
World*, 2005; Bates et al., Ann. Statist. 51 (2023) 149). Of frames like the training a share of at most α has a
likeness of at most α, whatever the distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import erfc, sqrt
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.preprocess import strips
from models.quality.spectrum import TILE, Real, Spectrum

UNLIKE = 0.01
"""A frame of a smaller likeness is unlike the training: of frames like it, one in a hundred is called so."""
BANDS_PER_NM = (0.8, 1.5, 2.3, 3.2, 4.2, 5.2, 6.0)
"""Borders of the bands of the spectrum [nm⁻¹]."""
FARTHEST = 8.0
"""Values further than so many spreads from the middle count as this far: tails are of no interest."""


MARKED = 0.1
"""Pixels of a larger probability are marked by the network."""
SLOW_PX = 6
"""The slow part of a frame: blurred by a Gaussian of so much, and every fourth pixel of that [px]."""
_BEYOND = 32
"""As far as the blur of the slow part reaches, and a multiple of four [px]."""


@dataclass(frozen=True)
class Shape:
    """How the values of a standardised frame are distributed, and how sure the network is of it."""

    frame: tuple[float, float]
    """Mean third and fourth power of the values, centred and divided by their standard deviation."""
    slow: tuple[float, float]
    """The same of the frame's slow part."""
    sureness: float
    """Mean |2p - 1| where the network marks something; 1 where it marks nothing."""
    marked: float
    """Share of the frame that it marks."""


def shape_of(standardised: npt.NDArray[np.float32], particle_map: npt.NDArray[np.float32]) -> Shape:
    """From a frame (h, w) and the network's probability of a particle (h, w)."""
    coarse = np.ascontiguousarray(particle_map[::2, ::2])
    marked = coarse > MARKED
    count = np.count_nonzero(marked)
    return Shape(
        frame=_moments(standardised),
        slow=_moments(slow_part(standardised)),
        sureness=float(np.abs(2 * coarse[marked] - 1).mean()) if count else 1.0,
        marked=count / marked.size,
    )


def slow_part(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(⌈h/4⌉, ⌈w/4⌉) every fourth pixel of an image (h, w) blurred by a Gaussian of `SLOW_PX`.

    The image is halved twice by OpenCV's pyramid, whose binomial of variance 1 leaves every second pixel; the rest of
    the Gaussian's variance is added on what is left.
    """
    # Mirrored before: of an even number of pixels the last is none of those that are left.
    wide = cv2.copyMakeBorder(image, _BEYOND, _BEYOND, _BEYOND, _BEYOND, cv2.BORDER_REFLECT_101)
    quarter = cv2.GaussianBlur(cv2.pyrDown(cv2.pyrDown(wide)), (0, 0), sqrt(SLOW_PX**2 - (1 + 4)) / 4)
    rows, cols = (slice(_BEYOND // 4, _BEYOND // 4 + (n + 3) // 4) for n in image.shape)
    return np.asarray(quarter[rows, cols])


def _moments(image: npt.NDArray[np.float32]) -> tuple[float, float]:
    mean, deviation = (float(found[0, 0]) for found in cv2.meanStdDev(image))
    third = fourth = 0.0
    for rows in strips(len(image)):
        centred = image[rows] - np.float32(mean)
        centred *= np.float32(1 / (deviation + 1e-9))
        square = centred * centred
        third += float(np.vdot(square, centred))
        fourth += float(np.vdot(square, square))
    return third / image.size, fourth / image.size


def frame_statistics(
    spectrum: Spectrum,
    standardised: npt.NDArray[np.float32],
    particle_map: npt.NDArray[np.float32],
    shape: Shape | None = None,
) -> dict[str, float] | None:
    """What is compared of a whole frame; `None` where its pixels are too large for the bands, or it is too small.

    Logarithms of the standardised frame's power by band and of the lattice's height; skewness and kurtosis, of the
    frame and of its slow part; how much of what the network marks it is sure of, and how much it marks.

    Parameters
    ----------
    standardised : (h, w) at canonical sampling.
    particle_map : (h, w) the network's probability of a particle.
    shape : `shape_of` these two, where it is known already.
    """
    k = spectrum.frequencies
    if k[-1] < BANDS_PER_NM[-1] - 0.1 or min(standardised.shape) < TILE:
        return None
    found = {}
    for low, high in pairwise(BANDS_PER_NM):
        band = spectrum.level[(k >= low) & (k < high)]
        found[f"power from {low:g} to {high:g} nm⁻¹"] = float(np.log(band.mean() + 1e-4))
    found["height of the lattice"] = spectrum.tile_peak
    known = shape or shape_of(standardised, particle_map)
    for name, (third, fourth) in (("frame", known.frame), ("slow part", known.slow)):
        found[f"skewness of the {name}"] = third
        found[f"kurtosis of the {name}"] = float(np.log(fourth))
    found["sureness of the network"] = known.sureness
    found["share marked by the network"] = float(np.sqrt(known.marked))
    return found


@dataclass(frozen=True)
class Reference:
    """Where a kind of vectors lies in the training, and how far from there those of the validation split are."""

    names: tuple[str, ...]
    centre: Real
    spread: Real
    axes: Real
    """(A, N) directions in units of the spread, each divided by the standard deviation along it."""
    distances: Real
    """Quantiles of the squared distances of the validation split, evenly spaced from the least to the largest."""

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Reference:
        """From the manifest of a bundle.

        Raises
        ------
        ValueError, KeyError, TypeError
            It is damaged.
        """
        names = tuple(str(name) for name in told["names"])
        arrays = [np.array(told[key], np.float64) for key in ("centre", "spread", "axes", "distances")]
        centre, spread, axes, distances = arrays
        if centre.shape != (len(names),) or spread.shape != centre.shape or axes.shape[1:] != centre.shape:
            raise ValueError("a reference of likeness whose parts do not fit each other")
        if not all(np.isfinite(a).all() for a in arrays) or (spread <= 0).any() or len(distances) < 2:
            raise ValueError("a reference of likeness with impossible values")
        return cls(names, centre, spread, axes, np.sort(distances))

    def normal(self, values: npt.NDArray[np.floating]) -> Real:
        """(R, N) values in units of the spread about the centre, cut off at `FARTHEST`."""
        return np.asarray(np.clip((values - self.centre) / self.spread, -FARTHEST, FARTHEST))

    def squared(self, values: npt.NDArray[np.floating]) -> Real:
        """(R,) squared distances of (R, N) values from the centre."""
        return np.asarray(((self.normal(values) @ self.axes.T) ** 2).sum(axis=1))

    def likeness(self, values: npt.NDArray[np.floating]) -> Real:
        """(R,) share of the validation split that is as far away or further."""
        share = np.linspace(0, 1, len(self.distances))
        return np.asarray(1 - np.interp(self.squared(values), self.distances, share, left=0.0, right=1.0))

    def farthest(self, values: Mapping[str, float]) -> str:
        """The name of the value furthest from the centre."""
        away = np.abs(self.normal(np.array([[values[name] for name in self.names]]))[0])
        return self.names[int(np.argmax(away))]


@dataclass(frozen=True)
class Likeness:
    """The references of a bundle."""

    frames: Reference
    particles: Reference
    correlation: float
    """Of the ranks of two particles' distances in one frame, in the validation split."""

    @classmethod
    def read(cls, told: Mapping[str, Any] | None) -> Likeness | None:
        """From the manifest of a bundle, `None` where it has none.

        Raises
        ------
        ValueError, KeyError, TypeError
            It is damaged.
        """
        if told is None:
            return None
        correlation = float(told["correlation"])
        if not 0 <= correlation <= 1:
            raise ValueError("a reference of likeness with an impossible correlation")
        return cls(Reference.read(told["frames"]), Reference.read(told["particles"]), correlation)

    def of_frame(self, statistics: Mapping[str, float]) -> float:
        """Likeness of a frame's statistics."""
        return float(self.frames.likeness(np.array([[statistics[name] for name in self.frames.names]]))[0])

    def of_particles(self, features: Sequence[Mapping[str, float]]) -> float | None:
        """Likeness of a frame's particles together; `None` without any.

        The ranks of their distances are averaged: in a frame like the training the mean is about 1/2, with the
        variance of n ranks of which every two are correlated.
        """
        if not features:
            return None
        rows = np.array([[each[name] for name in self.particles.names] for each in features])
        ranks = self.particles.likeness(np.nan_to_num(rows))
        variance = (self.correlation + (1 - self.correlation) / len(ranks)) / 12
        return 0.5 * erfc((0.5 - float(ranks.mean())) / sqrt(2 * variance))

    def judge(
        self, statistics: Mapping[str, float] | None, features: Sequence[Mapping[str, float]]
    ) -> dict[str, float | bool | str]:
        """`likeness` of a frame, `unlike` (below `UNLIKE`) and, where it is, `unlike_by`: what is furthest off.

        Both references are asked; the smaller value is doubled (Bonferroni), so that the rate of false alarms holds.
        Nothing where there is nothing to compare.
        """
        by_frame = None if statistics is None else self.of_frame(statistics)
        by_particles = self.of_particles(features)
        known = [each for each in (by_frame, by_particles) if each is not None]
        if not known:
            return {}
        likeness = min(1.0, len(known) * min(known))
        found: dict[str, float | bool | str] = {"likeness": likeness, "unlike": likeness < UNLIKE}
        if likeness < UNLIKE:
            found["unlike_by"] = "the particles' features"
            if statistics is not None and by_frame == min(known):
                found["unlike_by"] = self.frames.farthest(statistics)
        return found
