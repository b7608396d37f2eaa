"""Whether the pixel size agrees with the lattice spacings that are seen in many particles of known materials.

The strongest Bragg spot of every particle lies at the frequency of some plane of its crystal. Over many particles the
one factor is looked for that brings these frequencies onto the lines of a material: that factor is by how much the
pixel size is wrong. Where two materials at two factors explain the spots nearly as well (CdSe that reads 3 % small has
nearly the spacings of PbS), nothing is said unless the material is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.features.crystals import CRYSTALS, lines, of_material

Real = npt.NDArray[np.float64]

#: A particle counts where its strongest spot has this much power over the ground's (logarithm), within these
#: frequencies: beyond them the lines are too dense to tell apart [nm⁻¹].
_STRONG = 3.0
_LOWEST, _HIGHEST = 1.5, 5.5
#: Fewer particles tell nothing.
FEWEST = 15
#: Factors that are tried. Moved by 8 % the lines of a material fall on others of it.
_FACTORS = np.arange(0.935, 1.0651, 0.001)
#: How far a spot may lie from its line: of its frequency, and by the transform's bins [nm⁻¹]; and the share of spots
#: that belong to no line.
_RELATIVE, _BIN, _STRAY = 0.006, 0.023, 0.15
#: Mean log likelihood of a spot from which a material explains what is seen; strays alone have -3.7, and materials that
#: are not there have -1.5 at most.
_EXPLAINED = -1.2
#: Another factor, of this or of another material, must be less likely by so much (logarithm) for the best one to count.
_MARGIN = 4.0
#: Spots of one line alone may be any of several; so many have to be on the second line at least.
_ON_SECOND = 3
#: Two factors are different from here on, and a pixel size is wrong from here on.
_DIFFERENT, WRONG = 0.01, 0.015


@dataclass(frozen=True)
class Spacings:
    """What the spacings of many particles say of the pixel size."""

    material: str
    factor: float
    """By which the pixel size that was used has to be divided."""
    particles: int
    """How many were used."""

    @property
    def agrees(self) -> bool:
        """Whether the pixel size agrees with the spacings, to 1.5 %."""
        return abs(self.factor - 1) < WRONG

    def sentence(self, pixel_size_nm: float) -> str:
        """What it says of frames that were analysed with this pixel size [nm]."""
        if self.agrees:
            return (
                f"the spacings of {self.particles} particles of {self.material} agree with {pixel_size_nm:.4g} nm/px "
                f"to {max(0.1, abs(self.factor - 1) * 100):.1f} %"
            )
        right = pixel_size_nm / self.factor
        read = "large" if self.factor > 1 else "small"
        return (
            f"spacings read {abs(self.factor - 1):.0%} {read}: is {pixel_size_nm:.4g} nm/px right? The planes of "
            f"{self.particles} particles of {self.material} agree with {right:.4g}; give --force-pixel-size {right:.4g}"
        )


def spacings_of(features: Iterable[Mapping[str, float]], material: str | None = None) -> Spacings | None:
    """What the particles' spacings say; None where they are too few, or leave more than one answer.

    Parameters
    ----------
    features : of each particle, as the record keeps them (`peak_0`, `peak_first_k`).
    material : that the operator named; `None`: of all that are known the one that explains what is seen.
    """
    seen = [(one.get("peak_first_k", 0.0), one.get("peak_0", -5.0)) for one in features]
    spots = np.array([k for k, strength in seen if strength > _STRONG and _LOWEST < k < _HIGHEST])
    if len(spots) < FEWEST:
        return None
    names = [material] if material else list(dict.fromkeys(crystal.material for crystal in CRYSTALS))
    likely = {name: _likelihood(spots, name) for name in names if of_material(name)}
    if not likely:
        return None
    best = max(likely, key=lambda name: float(likely[name].max()))
    top = float(likely[best].max())
    factor = float(_FACTORS[int(likely[best].argmax())])
    if top / len(spots) < _EXPLAINED or not _FACTORS[0] < factor < _FACTORS[-1]:
        return None
    others = np.abs(_FACTORS - factor) > _DIFFERENT
    if max(float(found[others].max()) for found in likely.values()) > top - _MARGIN:
        return None
    if _on_second_line(spots * factor, best) < _ON_SECOND:
        return None
    return Spacings(best, factor, len(spots))


def pixel_size_doubt(
    features: Iterable[Mapping[str, float]], pixel_size_nm: float, material: str | None = None
) -> str | None:
    """The sentence that a pixel size [nm] does not agree with the spacings; None where nothing speaks against it."""
    found = spacings_of(features, material)
    return None if found is None or found.agrees else found.sentence(pixel_size_nm)


def _lines(material: str) -> Real:
    """The frequencies of a material's planes, in all its structures, up to `_HIGHEST` [nm⁻¹]."""
    known = {round(line.frequency, 2) for crystal in of_material(material) for line in lines(crystal)}
    return np.array(sorted(frequency for frequency in known if frequency < _HIGHEST))


def _on_second_line(spots: Real, material: str) -> int:
    """How many spots (N,) are on the line of a material that has the second most; lines nearer than 3 % are one."""
    at = _lines(material)
    nearest = at[np.argmin(np.abs(spots[:, None] - at), axis=1)]
    close = np.abs(spots - nearest) < 3 * np.hypot(_RELATIVE * nearest, _BIN)
    groups = np.cumsum([0, *(np.diff(at) > 0.03 * at[1:])])
    counts = np.bincount(groups[np.searchsorted(at, nearest[close])], minlength=2)
    return int(np.sort(counts)[-2])


def _likelihood(spots: Real, material: str) -> Real:
    """Log likelihood of spots (N,) [nm⁻¹] for each of the factors: of a mixture of the material's lines and strays."""
    at = _lines(material)
    width = np.hypot(_RELATIVE * at, _BIN)
    away = (spots[None, :, None] * _FACTORS[:, None, None] - at) / width
    near = (np.exp(-0.5 * away**2) / (width * np.sqrt(2 * np.pi))).mean(axis=2)
    return np.asarray(np.log((1 - _STRAY) * near + _STRAY / 6).sum(axis=1))
