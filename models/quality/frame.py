"""Figures of the frame itself: what was lit, how far its information reaches, how sharp it is, how far out of
focus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.preprocess import block_means, median, robust_surface, strips
from models.quality.likeness import UNLIKE
from models.quality.rings import thon_rings
from models.quality.spectrum import Spectrum, spectrum_of
from models.quality.transfer import directional_blur, information_limit, sharpness, signal

Quality = dict[str, float | bool | str]

SATURATED_SHARE = 0.2
"""A frame of which more stands at the largest value is saturated."""
COARSE = 64
"""Side of the reduced frame from which the illumination is read [px]."""
DARK = 0.12
"""A place is dark where its noise has less than this share of the variance of well lit places: shot noise has as much
variance as there are electrons, whatever the camera's dark level is."""
USUAL_ENERGY_KEV = 300.0


@dataclass(frozen=True)
class Sampled:
    """Figures of every second pixel of a frame along both sides, (h, w)."""

    mean: float
    spread: float
    """Standard deviation."""
    at_highest: float
    """Share of the pixels that have the largest value."""
    ground: npt.NDArray[np.float32]
    """(`COARSE`, `COARSE`) mean counts of blocks."""
    level: npt.NDArray[np.float32]
    """Mean counts of the blocks of `places_of`."""
    step: npt.NDArray[np.float32]
    """Mean square of the difference from the next pixel along a row, of the same blocks."""
    powers: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None
    """`models.quality.spectrum.tiled_power` of the standardised frame and of this one, where they are known."""


def places_of(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the blocks in which dark places of a sample (h, w) are looked for."""
    rows, cols = (max(4, min(COARSE, n // 8)) for n in shape)
    return rows, cols


def sampled(image: npt.NDArray[Any]) -> Sampled:
    """The figures of a frame (H, W)."""
    shape = (image.shape[0] + 1) // 2, (image.shape[1] + 1) // 2
    sample, step = np.empty(shape, np.float32), np.empty((shape[0], shape[1] - 1), np.float32)
    moments = []
    for rows in strips(shape[0]):
        strip, square = sample[rows], step[rows]
        strip[:] = image[2 * rows.start : 2 * rows.stop : 2, ::2]
        np.subtract(strip[:, 1:], strip[:, :-1], out=square)
        square *= square
        mean, spread = cv2.meanStdDev(strip)
        moments.append((len(strip), float(mean[0, 0]), float(spread[0, 0])))
    count, means, spreads = np.array(moments).T
    mean = float((count * means).sum() / shape[0])
    spread = float(np.sqrt((count * (spreads**2 + (means - mean) ** 2)).sum() / shape[0]))
    places = places_of(shape)
    ground = np.asarray(cv2.resize(sample, (COARSE, COARSE), interpolation=cv2.INTER_AREA))
    level = (
        cv2.resize(sample, places[::-1], interpolation=cv2.INTER_AREA) if places != ground.shape else ground
    )
    return Sampled(
        mean=mean,
        spread=spread,
        at_highest=np.count_nonzero(sample >= sample.max()) / sample.size if spread > 0 else 1.0,
        ground=ground,
        level=np.asarray(level),
        step=np.asarray(cv2.resize(step, places[::-1], interpolation=cv2.INTER_AREA)),
    )


def frame_quality(
    image: npt.NDArray[Any],
    standardised: npt.NDArray[np.float32],
    pixel_size_nm: float,
    native_nm: float,
    energy_kev: float = USUAL_ENERGY_KEV,
    sample: Sampled | None = None,
) -> tuple[Quality, Spectrum | None]:
    """Figures of one frame, and the averaged spectrum from which some of them are.

    Always there: `mean_counts`, `relative_spread` (standard deviation over mean), `illumination_range` (largest less
    smallest value of the smooth ground, as a share of the mean), `saturated_share` (pixels at the largest value),
    `dark_share` (of the frame that next to no electrons reach, while others do), `lattice` (highest pixel of the
    averaged spectrum from 2.3 to 5.5 nm⁻¹ over the median of its ring, 1 for none), and a `verdict`: `ok`,
    `saturated` or `constant`.

    Where the frame is large enough for a spectrum: `noise_power` (of the noise at frequency 0 [counts² a pixel],
    which goes with the dose), `noise_whiteness` (noise at Nyquist over that at 0; 1 where no electrons are, if the
    camera spreads them).

    Where the noise has the form of a camera's (not so in pictures that were filtered or enlarged): `signal` (diffuse
    specimen over noise, 1 to 4 nm⁻¹) and, where the specimen stands above the noise, `information_limit_per_nm`.

    Unless no specimen stands above known noise: `sharpness_per_nm` (half of the diffuse specimen's power lies below),
    `blur_nm` and `blur_deg` (directional; from the rows' axis to the columns').

    Where Thon rings show: `defocus_nm` (without its sign), `defocus_confidence`, and where the directions agree
    `astigmatism_nm`, `astigmatism_deg`.

    Parameters
    ----------
    image : (H, W) native counts.
    standardised : (h, w) at canonical sampling.
    pixel_size_nm : canonical [nm].
    native_nm : of `image` [nm].
    energy_kev : of the electrons.
    sample : of `image`, where it is known already.
    """
    sample = sample or sampled(image)
    mean, spread, saturated = sample.mean, sample.spread, sample.at_highest
    ground = robust_surface(block_means(sample.ground, 4), 2, sample.ground.shape).whole
    scale = abs(mean) + 1e-9
    constant = spread <= 1e-9 * scale
    quality: Quality = {
        "mean_counts": mean,
        "relative_spread": spread / scale,
        "illumination_range": float(np.ptp(ground)) / scale,
        "saturated_share": saturated,
        "dark_share": _dark_share(sample),
        "lattice": 1.0,
        "verdict": "constant" if constant else "saturated" if saturated > SATURATED_SHARE else "ok",
    }
    spectrum = None
    if not constant:
        spectrum = spectrum_of(image, native_nm, standardised, pixel_size_nm, sample.powers)
    if spectrum is not None:
        quality |= _of_spectrum(spectrum, energy_kev)
    return quality, spectrum


def of_blocks(parts: list[Quality]) -> Quality:
    """Figures of a frame that was judged in blocks: means of numbers, of directions the first; the worst verdict."""
    together: Quality = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        numbers = [float(v) for v in values if isinstance(v, int | float)]
        if name == "verdict":
            together[name] = "ok" if "ok" in values else str(values[0])
        elif isinstance(values[0], str | bool) or name.endswith("_deg"):
            together[name] = values[0]
        else:
            together[name] = sum(numbers) / len(numbers)
    if "likeness" in together:  # one block that is unlike is enough (Bonferroni)
        least = min(1.0, len(parts) * min(float(part.get("likeness", 1.0)) for part in parts))
        together |= {"likeness": least, "unlike": least < UNLIKE}
    return together


def _dark_share(sample: Sampled) -> float:
    """Share of places that are dark beside others that are lit."""
    # The median of each 3 × 3: an X-ray hit or a hot pixel lights no place.
    noise = cv2.medianBlur(sample.step, 3)
    lit = noise >= np.percentile(noise, 75)
    dark = (noise < DARK * median(noise[lit])) & (sample.level < median(sample.level[lit]))
    return float(dark.mean())


def _of_spectrum(spectrum: Spectrum, energy_kev: float) -> Quality:
    found: Quality = {
        "lattice": spectrum.peak,
        "noise_power": spectrum.noise_power,
        "noise_whiteness": spectrum.whiteness,
    }
    if spectrum.noise_known:
        found["signal"] = signal(spectrum)
        limit = information_limit(spectrum)
        if limit is None:
            return found
        found["information_limit_per_nm"] = limit
    sharp, blur = sharpness(spectrum), directional_blur(spectrum)
    if sharp is not None:
        found["sharpness_per_nm"] = sharp
    if blur is not None:
        found["blur_nm"], found["blur_deg"] = blur
    rings = thon_rings(spectrum, energy_kev)
    if rings is not None:
        found |= {"defocus_nm": rings.defocus_nm, "defocus_confidence": rings.confidence}
        if rings.astigmatism_nm is not None and rings.astigmatism_deg is not None:
            found |= {"astigmatism_nm": rings.astigmatism_nm, "astigmatism_deg": rings.astigmatism_deg}
    return found
