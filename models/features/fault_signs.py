"""Signs of a fault along one axis of a stack, from the row of reflections that faults change.

They are read from the samples of `models.features.stack.Reading`: the sum over each layer, and between it and the next,
at the row's lateral frequency.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from models.features.stack import Reading

Real = npt.NDArray[np.float64]

FINE = 4
"""Steps of a row's profile in each of its resolution elements."""


def row_profile(samples: npt.NDArray[np.complexfloating]) -> tuple[Real, Real]:
    """Power along the row of reflections: heights [of the layers' reflection] from -1 to 1, and the power at each.

    Parameters
    ----------
    samples : (N, 2) as in `Reading`: half a layer apart, so that heights repeat after 2.

    P(h) = |Σⱼ sⱼ exp(-πi h j)|² / (2N Σⱼ |sⱼ|²), which is 1 where one reflection holds everything: the structure factor
    of a stack along a row (Warren, *X-ray Diffraction*, ch. 13, "Stacking faults"). The heights are those of a discrete
    Fourier transform of the samples, padded with zeros to `FINE` times their number.
    """
    series = samples.ravel()
    count = len(series)
    heights = np.arange(-FINE * count // 2, FINE * count // 2) * 2 / (FINE * count)
    transform = fft.fftshift(fft.fft(series, FINE * count))
    power = np.abs(transform) ** 2 / (count * np.sum(np.abs(series) ** 2) + 1e-12)
    return heights, np.asarray(power)


def streak(samples: npt.NDArray[np.complexfloating]) -> float:
    """Over how many resolution elements the row's power is spread: few spots where the stack is regular.

    (ΣP)² / ΣP², the inverse participation ratio, in elements of 2 / 2N. Faults draw a row's spots out into streaks
    (Warren, ch. 13).
    """
    _, power = row_profile(samples)
    return float(power.sum() ** 2 / (FINE * (power**2).sum() + 1e-12))


def twin_spots(samples: npt.NDArray[np.complexfloating]) -> float:
    """The weaker of the two hands of ABC over the stronger, 0 to 1.

    ABC has its row's spots at heights 1/3 and -2/3, its twin CBA at -1/3 and 2/3; both are there in a twin (Hirsch et
    al., *Electron Microscopy of Thin Crystals*, ch. 6).
    """
    series = samples.ravel()
    j = np.arange(len(series))

    def power(height: float) -> float:
        return float(np.abs(np.sum(series * np.exp(-1j * np.pi * height * j))) ** 2)

    hands = [power(1 / 3) + power(-2 / 3), power(-1 / 3) + power(2 / 3)]
    return min(hands) / (max(hands) + 1e-12)


def signs_of(reading: Reading) -> dict[str, float]:
    """All signs of a reading, by name."""
    return {"streak": streak(reading.samples), "twin_spots": twin_spots(reading.samples)}
