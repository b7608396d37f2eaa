"""Augmentation of training images: geometry, burnt-in marks, and frames that hold no particle."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from models.examples.exposure import correlated_noise, smooth_field

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]


def turn_and_scale(image: Image, labels: Labels, rng: np.random.Generator) -> tuple[Image, Labels]:
    """One of the eight symmetries of the square; in half the cases also another scale (± 15 %) and any angle."""
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if flip:
        image, labels = image[:, ::-1], labels[:, ::-1]
    image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
    if rng.random() < 0.5:
        size = image.shape[0]
        scale = float(np.exp(rng.uniform(-0.15, 0.15)))
        matrix = cv2.getRotationMatrix2D((size / 2, size / 2), float(rng.uniform(0, 360)), scale)
        image = cv2.warpAffine(
            image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        labels = cv2.warpAffine(
            labels, matrix, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT
        )
    return image, labels


def burn_in(image: Image, labels: Labels, rng: np.random.Generator) -> tuple[Image, Labels]:
    """A scale bar or a data line as viewers burn into exported pictures; there is no particle under it."""
    image, labels = image.copy(), labels.copy()
    low, high = float(image.min()), float(image.max())
    h, w = int(rng.integers(12, 40)), int(rng.integers(40, 140))
    r0, c0 = int(rng.integers(0, image.shape[0] - h)), int(rng.integers(0, image.shape[1] - w))
    if rng.random() < 0.6:
        image[r0 : r0 + h, c0 : c0 + w] = low if rng.random() < 0.7 else high
        labels[r0 : r0 + h, c0 : c0 + w] = 0
    ink = high if rng.random() < 0.7 else low
    marks = np.zeros(image.shape, np.uint8)
    marks[r0 + h - 6 : r0 + h - 3, c0 + 3 : c0 + w - 3] = 1
    cv2.putText(marks, f"{rng.integers(1, 50)} nm", (c0 + 4, r0 + h - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1, 1)
    image[marks > 0] = ink
    return image, labels


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


def film_edge(size: int, rng: np.random.Generator) -> Image:
    """The edge of a carbon film or of a hole in it: a step with Fresnel fringes, and no particle."""
    r, c = np.mgrid[:size, :size].astype(np.float32) - size / 2
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.45, 0.45) * size
    if rng.random() < 0.5:
        distance = r * np.cos(angle) + c * np.sin(angle) - offset
    else:  # a round hole or a round film
        radius = rng.uniform(0.3, 2.0) * size
        centre = (radius + offset) * np.array([np.cos(angle), np.sin(angle)])
        distance = radius - np.hypot(r - centre[0], c - centre[1])
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


def step_field(size: int, rng: np.random.Generator) -> Image:
    """Two plain levels, 1 and a lower one, as of a beam's edge, an aperture, or a step of the film or the illumination.

    (size, size). The border is straight or curved, sharp or soft, with or without a Fresnel fringe.
    """
    r, c = np.mgrid[:size, :size].astype(np.float32)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        distance = r * np.float32(np.cos(angle)) + c * np.float32(np.sin(angle))
    else:
        centre = rng.uniform(-0.7, 1.7, 2) * size
        distance = np.hypot(r - np.float32(centre[0]), c - np.float32(centre[1])) * rng.choice([-1, 1])
    distance = distance - np.quantile(distance[::8, ::8], rng.uniform(0.1, 0.9))
    low = np.float32(rng.choice([0.0, rng.uniform(0.02, 0.3), rng.uniform(0.3, 0.95)]))
    width = np.float32(10 ** rng.uniform(-0.5, 1.8))
    field = low + (1 - low) / (1 + np.exp(-np.clip(distance / width, -40, 40)))
    if rng.random() < 0.4:
        fresnel = np.float32(rng.uniform(4, 20))
        fringe = np.cos(np.pi * (distance / fresnel) ** 2) * np.exp(-np.abs(distance) / (1.5 * fresnel))
        field = field * (1 + np.float32(rng.uniform(0.05, 0.3)) * fringe)
    return np.asarray(np.clip(field, 0, None), dtype=np.float32)


def half_dark_frame(size: int, rng: np.random.Generator) -> Image:
    """Plain levels with a step between them (`step_field`) and Poisson noise, blurred or not."""
    field = step_field(size, rng)
    if rng.random() < 0.2:
        field = field * step_field(size, rng)
    counts = rng.poisson(field * 10 ** rng.uniform(0.3, 3)).astype(np.float32)
    blurred = rng.random() < 0.5
    return np.asarray(cv2.GaussianBlur(counts, (0, 0), float(rng.uniform(0.3, 2)))) if blurred else counts


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
