"""Signs of a fault along one axis of a stack, from the row of reflections that faults change.

They are read from the samples of `models.features.stack.Reading`: the sum over each layer, and between it and the next,
at the row's lateral frequency.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

Complex = npt.NDArray[np.complexfloating]
Real = npt.NDArray[np.float64]

FINE = 4
"""Steps of a row's profile in each of its resolution elements."""
HANDS = (1 / 3, -2 / 3, -1 / 3, 2 / 3)
"""Heights of the spots of ABC, and of its twin CBA."""


def row_profile(samples: Complex) -> tuple[Real, Real]:
    """Power along the row of reflections: heights [of the layers' reflection] from -1 to 1, and the power at each.

    Parameters
    ----------
    samples : (N, 2) as in `Reading`: half a layer apart, so that heights repeat after 2.

    P(h) = |Σⱼ sⱼ exp(-πi h j)|² / (2N Σⱼ |sⱼ|²), which is 1 where one reflection holds everything: the structure factor
    of a stack along a row (Warren, *X-ray Diffraction*, ch. 13, "Stacking faults"). The heights are those of a discrete
    Fourier transform of the samples, padded with zeros to `FINE` times their number.
    """
    count = samples.size
    heights = np.arange(-FINE * count // 2, FINE * count // 2) * 2 / (FINE * count)
    return heights, np.asarray(fft.fftshift(_powers(samples)))


def _powers(samples: Complex) -> Real:
    """The powers of `row_profile` of samples (…, N, 2), along the last axis, beginning at height 0."""
    row = samples.reshape(*samples.shape[:-2], -1)
    transform = fft.fft(row, FINE * row.shape[-1])
    energy = (row.real**2 + row.imag**2).sum(axis=-1, keepdims=True)
    return np.asarray((transform.real**2 + transform.imag**2) / (row.shape[-1] * energy + 1e-12))


def streak(samples: Complex) -> Real:
    """Over how many resolution elements the power of rows (…, N, 2) is spread: few spots where the stack is regular.

    (ΣP)² / ΣP², the inverse participation ratio, in elements of 2 / 2N. Faults draw a row's spots out into streaks
    (Warren, ch. 13).
    """
    power = _powers(samples)
    return np.asarray(power.sum(axis=-1) ** 2 / (FINE * (power * power).sum(axis=-1) + 1e-12))


def twin_spots(samples: Complex) -> Real:
    """The weaker of the two hands of ABC over the stronger, 0 to 1, in rows (…, N, 2).

    ABC has its row's spots at heights 1/3 and -2/3, its twin CBA at -1/3 and 2/3; both are there in a twin (Hirsch et
    al., *Electron Microscopy of Thin Crystals*, ch. 6).
    """
    row = samples.reshape(*samples.shape[:-2], -1)
    seen = row @ _hand_waves(row.shape[-1]).T
    power = seen.real**2 + seen.imag**2
    hands = power[..., :2].sum(axis=-1), power[..., 2:].sum(axis=-1)
    return np.asarray(np.minimum(*hands) / (np.maximum(*hands) + 1e-12))


@lru_cache(maxsize=64)
def _hand_waves(count: int) -> npt.NDArray[np.complex128]:
    """(4, count) what reads the spots of the two `HANDS` from a row's samples."""
    return np.asarray(np.exp(-1j * np.pi * np.outer(HANDS, np.arange(count))))
