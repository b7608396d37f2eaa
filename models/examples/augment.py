"""Frames that hold no particle, and what is laid over frames that do: burnt-in marks, steps of the illumination.

NumPy and OpenCV alone, so that processes that draw specimens need no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from models.preprocess import Preprocessing, resample, standardise

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

LARGE_PX = 300
"""Edges of beams, apertures, films and holes are straight, or have at least this radius: 15 nm at 0.05 nm/px, more
than a particle has. A smaller one leaves a dark round patch, as a particle without lattice is [px]."""

BOX, BRIGHT_BOX, INK, BRIGHT_INK = 1, 2, 4, 8
"""Bits of a stamp: a plain box, whether it is bright, the marks, whether they are bright."""


def correlated_noise(shape: tuple[int, int], length_px: float, rng: np.random.Generator) -> Image:
    """Gaussian noise (H, W) of unit variance, correlated over `length_px`; 0 is white.

    `models.examples.exposure` has it for batches in torch; a test holds both together.
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    if length_px > 0.2:
        noise = cv2.GaussianBlur(noise, (0, 0), length_px)
        noise /= noise.std() + 1e-6
    return noise


def smooth_field(shape: tuple[int, int], length_px: float, rng: np.random.Generator) -> Image:
    """Correlated noise for long lengths, made on a coarse grid and enlarged."""
    step = max(1, int(length_px / 4))
    coarse = correlated_noise((shape[0] // step + 4, shape[1] // step + 4), max(length_px / step, 0.3), rng)
    field = cv2.resize(coarse, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(field[: shape[0], : shape[1]], dtype=np.float32)


def stamp(size: int, rng: np.random.Generator) -> Labels:
    """A scale bar with its length, in 6 of 10 cases on a plain box: (size, size) of bits, as `BOX` says."""
    bits = np.zeros((size, size), np.uint8)
    h, w = int(rng.integers(12, 40)), int(rng.integers(40, 140))
    r0, c0 = int(rng.integers(0, size - h)), int(rng.integers(0, max(1, size - w)))
    if rng.random() < 0.6:
        bits[r0 : r0 + h, c0 : c0 + w] = BOX if rng.random() < 0.7 else BOX | BRIGHT_BOX
    marks = np.zeros((size, size), np.uint8)
    marks[r0 + h - 6 : r0 + h - 3, c0 + 3 : c0 + w - 3] = 1
    cv2.putText(marks, f"{rng.integers(1, 50)} nm", (c0 + 4, r0 + h - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1, 1)
    bits[marks > 0] |= INK | BRIGHT_INK if rng.random() < 0.7 else INK
    return bits


def even_noise(size: int, rng: np.random.Generator) -> Image:
    """Noise of one correlation length, down to white and up to long, on an even or a sloping ground."""
    image = correlated_noise((size, size), float(rng.choice([0, 0.4, 0.7, 1.0, 1.6, 2.5, 4, 8])), rng)
    if rng.random() < 0.5:
        image = image + rng.uniform(0, 1) * correlated_noise((size, size), float(rng.uniform(0, 6)), rng)
    return image


def noisy_ramp(size: int, rng: np.random.Generator) -> Image:
    """An illumination ramp or spot with Poisson noise, so that the noise varies with the mean."""
    r, c = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        field = 1 + rng.uniform(0.1, 0.9) * (r * np.cos(angle) + c * np.sin(angle)) / 1.5
    else:
        centre = rng.uniform(-1, 1, 2)
        field = np.exp(-((r - centre[0]) ** 2 + (c - centre[1]) ** 2) / (2 * rng.uniform(0.4, 1.5) ** 2))
    counts = rng.poisson(np.clip(field, 0.01, None) * 10 ** rng.uniform(0.3, 3)).astype(np.float32)
    return (
        np.asarray(cv2.GaussianBlur(counts, (0, 0), float(rng.uniform(0.3, 2))))
        if rng.random() < 0.6
        else counts
    )


def dark_frame(size: int, rng: np.random.Generator) -> Image:
    """The beam is off: read noise, fixed columns and rows, a few hot pixels."""
    image = rng.normal(0, 1, (size, size))
    if rng.random() < 0.5:
        image += rng.normal(0, rng.uniform(0.1, 1), (1, size))
    if rng.random() < 0.5:
        image += rng.normal(0, rng.uniform(0.1, 1), (size, 1))
    hot = rng.random((size, size)) < 10 ** rng.uniform(-5, -3)
    image[hot] += rng.exponential(50, int(hot.sum()))
    return np.asarray(image, dtype=np.float32)


def saturated_frame(size: int, rng: np.random.Generator) -> Image:
    """Overexposed: most pixels at the camera's limit."""
    image = even_noise(size, rng) + np.float32(rng.uniform(-0.5, 2))
    return np.asarray(np.minimum(image, np.float32(0.5)))


def curved_fringes(size: int, rng: np.random.Generator) -> Image:
    """Soot-like: curved graphitic fringes 0.34 to 0.4 nm apart at 0.05 nm/px, in patches, with noise."""
    r, c = np.mgrid[:size, :size].astype(np.float32)
    total = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        centre = rng.uniform(-0.3 * size, 1.3 * size, 2)
        warp = cv2.GaussianBlur(
            rng.standard_normal((size, size), dtype=np.float32), (0, 0), float(rng.uniform(8, 25))
        )
        distance = np.hypot(r - centre[0], c - centre[1]) + rng.uniform(0, 8) * warp / (warp.std() + 1e-6)
        patch = cv2.GaussianBlur(
            rng.standard_normal((size, size), dtype=np.float32), (0, 0), float(rng.uniform(6, 30))
        )
        patch = np.clip(patch / (patch.std() + 1e-6) + rng.uniform(-0.5, 1.5), 0, 1.5)
        total += patch * np.cos(2 * np.pi * distance / rng.uniform(6.6, 8.2)).astype(np.float32)
    thick = cv2.GaussianBlur(
        rng.standard_normal((size, size), dtype=np.float32), (0, 0), float(rng.uniform(20, 60))
    )
    total += rng.uniform(0, 1.5) * np.tanh(3 * thick / (thick.std() + 1e-6)).astype(np.float32)
    return total + np.float32(rng.uniform(0.2, 2)) * correlated_noise(
        (size, size), float(rng.uniform(0, 1.5)), rng
    )


def blurred_film(size: int, rng: np.random.Generator) -> Image:
    """Empty amorphous film far out of focus: the grain that a large defocus lets through, with the camera's noise.

    White scattering filtered by sin(π λ Δf k²) and an envelope (Kirkland, ch. 3), at 300 kV and 0.05 nm/px.
    """
    k = np.hypot(np.fft.fftfreq(size, 0.05)[:, None], np.fft.rfftfreq(size, 0.05)[None])  # [nm⁻¹]
    defocus_nm = rng.uniform(100, 1500) * rng.choice([-1, 1])
    transfer = np.sin(np.pi * 0.00197 * defocus_nm * k**2) * np.exp(-((k / rng.uniform(0.6, 2.5)) ** 2))
    grain = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * transfer, s=(size, size))
    grain = (grain / (grain.std() + 1e-9)).astype(np.float32)
    noise = correlated_noise((size, size), float(rng.choice([0, 0.5, 1.0])), rng)
    return np.asarray(grain + np.float32(10 ** rng.uniform(-1.3, 0.7)) * noise)


def large_radius(size: int, rng: np.random.Generator) -> float:
    """Radius of an edge in a frame so wide: from `LARGE_PX` on, and too large to close within the frame [px]."""
    return float(max(LARGE_PX, size) * 10 ** rng.uniform(0, 1))


def film_edge(size: int, rng: np.random.Generator, patch: bool = False) -> Image:
    """The edge of a carbon film or of a hole in it: a step with Fresnel fringes, and no particle; (size, size).

    Parameters
    ----------
    patch : half of the films are small discs, as particles are: not to be taught as nothing, for studies alone.
    """
    r, c = np.mgrid[:size, :size].astype(np.float32) - size / 2
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.45, 0.45) * size
    if rng.random() < 0.5:
        distance = r * np.cos(angle) + c * np.sin(angle) - offset
    else:  # a round hole or a round film
        radius = rng.uniform(0.3, 2.0) * size if patch else large_radius(size, rng)
        centre = (radius + offset) * np.array([np.cos(angle), np.sin(angle)])
        distance = radius - np.hypot(r - centre[0], c - centre[1])
        if not patch:
            distance = distance * rng.choice([-1, 1])
    distance = distance + np.float32(rng.uniform(0, 10)) * smooth_field(
        (size, size), rng.uniform(15, 60), rng
    )
    width = np.float32(rng.uniform(1, 6))
    film = 0.5 * (1 + np.tanh(distance / width))
    # Fresnel: the phase of the fringe grows as the square of the distance; they fade within a few.
    fresnel = np.float32(rng.uniform(6, 30))
    fringes = np.cos(np.pi * (distance / fresnel) ** 2 + rng.uniform(0, 2 * np.pi)) * np.exp(
        -np.abs(distance) / (1.5 * fresnel)
    )
    texture = correlated_noise((size, size), float(rng.uniform(0.8, 3)), rng)
    image = rng.uniform(-3, 3) * film + rng.uniform(0, 2) * fringes + rng.uniform(0.1, 1) * film * texture
    noise = correlated_noise((size, size), float(rng.choice([0, 0.5, 1.0])), rng)
    return np.asarray(image + rng.uniform(0.2, 1.5) * noise, dtype=np.float32)


def contamination(size: int, rng: np.random.Generator) -> Image:
    """Hydrocarbons on a film: dark amorphous patches without a definite edge, over the film's grain."""
    image = correlated_noise((size, size), float(rng.uniform(0.8, 3)), rng) * np.float32(rng.uniform(0.2, 1))
    for _ in range(int(rng.integers(1, 4))):
        field = smooth_field((size, size), float(rng.uniform(20, 70)), rng)
        patch = 1 / (
            1 + np.exp(-np.float32(rng.uniform(1, 3)) * (field - np.float32(rng.uniform(-0.5, 1.5))))
        )
        grain = correlated_noise((size, size), float(rng.uniform(0.8, 4)), rng)
        image = (
            image - np.float32(rng.uniform(0.5, 4)) * patch + np.float32(rng.uniform(0, 0.8)) * patch * grain
        )
    noise = correlated_noise((size, size), float(rng.choice([0, 0.5, 1.0])), rng)
    return np.asarray(image + np.float32(rng.uniform(0.2, 1.5)) * noise, dtype=np.float32)


@dataclass(frozen=True)
class Border:
    """What kind of border a step has; what is `None` is drawn."""

    curved: bool | None = None
    soft: bool | None = None
    """Wider than 4 px, against narrower."""
    fringe: bool | None = None
    """With a Fresnel fringe along it."""


#: Every kind of border, by name.
BORDERS = {
    f"{'curved' if curved else 'straight'}, {'soft' if soft else 'sharp'}{', fringe' if fringe else ''}": Border(
        curved, soft, fringe
    )
    for curved in (False, True)
    for soft in (False, True)
    for fringe in (False, True)
}
SOFT_PX = 4.0


def step_field(
    size: int, rng: np.random.Generator, border: Border | None = None, patch: bool = False
) -> Image:
    """Two plain levels, 1 and a lower one, as of a beam's edge, an aperture, or a step of the film or the illumination.

    (size, size). The border is straight or curved (`large_radius`), sharp or soft, with or without a Fresnel fringe.

    Parameters
    ----------
    patch : curves may close within the frame, and leave a dark round patch as a particle without lattice is: not to
        be taught as nothing, for studies alone.
    """
    border = border or Border()
    r, c = np.mgrid[:size, :size].astype(np.float32)
    if rng.random() < 0.5 if border.curved is None else not border.curved:
        angle = rng.uniform(0, 2 * np.pi)
        distance = r * np.float32(np.cos(angle)) + c * np.float32(np.sin(angle))
    else:
        centre = rng.uniform(-0.7, 1.7, 2) * size if patch else _far_centre(size, rng)
        distance = np.hypot(r - np.float32(centre[0]), c - np.float32(centre[1])) * rng.choice([-1, 1])
    distance = distance - np.quantile(distance[::8, ::8], rng.uniform(0.1, 0.9))
    low = np.float32(rng.choice([0.0, rng.uniform(0.02, 0.3), rng.uniform(0.3, 0.95)]))
    soft = np.log10(SOFT_PX)
    widths = {None: (-0.5, 1.8), False: (-0.5, soft), True: (soft, 1.8)}
    width = np.float32(10 ** rng.uniform(*widths[border.soft]))
    field = low + (1 - low) / (1 + np.exp(-np.clip(distance / width, -40, 40)))
    if rng.random() < 0.4 if border.fringe is None else border.fringe:
        fresnel = np.float32(rng.uniform(4, 20))
        fringe = np.cos(np.pi * (distance / fresnel) ** 2) * np.exp(-np.abs(distance) / (1.5 * fresnel))
        field = field * (1 + np.float32(rng.uniform(0.05, 0.3)) * fringe)
    return np.asarray(np.clip(field, 0, None), dtype=np.float32)


def _far_centre(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A point (row, column) that no pixel of the frame (size, size) is nearer to than a `large_radius` [px]."""
    angle, away = rng.uniform(0, 2 * np.pi), large_radius(size, rng) + size / np.sqrt(2)
    return np.asarray(size / 2 + away * np.array([np.cos(angle), np.sin(angle)]))


def half_dark_frame(
    size: int, rng: np.random.Generator, border: Border | None = None, patch: bool = False
) -> Image:
    """Plain levels with a step between them (`step_field`), with noise, blurred or not, resampled or not.

    The noise is Poisson's; in a third of the frames it is the same on both sides, down to next to none, as in a
    picture of two grey levels. Resampling through the Fourier transform rings at a sharp step.
    """
    field = step_field(size, rng, border, patch)
    if border is None and rng.random() < 0.2:
        field = field * step_field(size, rng, border, patch)
    if rng.random() < 1 / 3:
        noise = correlated_noise((size, size), float(rng.choice([0, 0.5, 1.0])), rng)
        counts = field + np.float32(10 ** rng.uniform(-3, -0.3)) * noise
    else:
        counts = rng.poisson(field * 10 ** rng.uniform(0.3, 4)).astype(np.float32)
    if rng.random() < 0.5:
        counts = cv2.GaussianBlur(counts, (0, 0), float(rng.uniform(0.3, 2)))
    if rng.random() < 0.3:
        wide = resample(np.ascontiguousarray(counts, dtype=np.float32), float(rng.uniform(1.05, 1.6)))[0]
        counts = wide[:size, :size] if rng.random() < 0.5 else wide[-size:, -size:]
    return np.asarray(counts, dtype=np.float32)


#: Kinds whose edges may leave a patch as large and as round as a particle: nobody could tell it from one.
PATCHES: dict[str, Callable[[int, np.random.Generator], Image]] = {
    "edge": partial(film_edge, patch=True),
    "half-dark": partial(half_dark_frame, patch=True),
}
#: Every kind of frame that holds no particle, by name.
NEGATIVES: dict[str, Callable[[int, np.random.Generator], Image]] = {
    "noise": even_noise,
    "ramp": noisy_ramp,
    "dark": dark_frame,
    "saturated": saturated_frame,
    "fringes": curved_fringes,
    "blurred": blurred_film,
    "edge": film_edge,
    "contamination": contamination,
    "half-dark": half_dark_frame,
}


def empty_image(
    size: int, kinds: dict[str, float], preprocessing: Preprocessing, marks: float, rng: np.random.Generator
) -> Image:
    """A standardised image (size, size) that holds nothing.

    Parameters
    ----------
    kinds : how often a kind of `NEGATIVES` comes, against 1 for one not named.
    marks : share with a burnt-in scale bar or data line.
    """
    shares = np.array([kinds.get(kind, 1.0) for kind in NEGATIVES])
    kind = str(rng.choice(list(NEGATIVES), p=shares / shares.sum()))
    # What the flat field leaves of a step reaches further in a larger frame.
    frame = size * int(rng.choice([1, 2, 4])) if kind == "half-dark" else size
    image = NEGATIVES[kind](frame, rng)
    if rng.random() < marks:
        image = stamped(image, stamp(frame, rng))
    image = standardise(image.astype(np.float32), preprocessing)
    top, left = (int(n) for n in rng.integers(0, frame - size + 1, 2))
    return np.ascontiguousarray(image[top : top + size, left : left + size])


def stamped(image: Image, bits: Labels) -> Image:
    """An image (H, W) with a stamp burnt in at its darkest and brightest levels."""
    low, high = image.min(), image.max()
    for what, bright in ((BOX, BRIGHT_BOX), (INK, BRIGHT_INK)):
        level = np.where((bits & bright) > 0, high, low)
        image = np.where((bits & what) > 0, level, image)
    return np.asarray(image, dtype=np.float32)
