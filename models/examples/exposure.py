"""Domain randomisation: what a camera, an operator or a viewer may do to a frame, each thing a function.

All take and give an image (H, W) float32 and keep where the particles are. Shares are of training images; the order is
that of the instrument: specimen, optics, camera, then what is done to a picture afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]


def correlated_noise(shape: tuple[int, int], length_px: float, rng: np.random.Generator) -> Image:
    """Gaussian noise (H, W) of unit variance, correlated over `length_px`; 0 is white."""
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


def _shape(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def thick_blobs(image: Image, rng: np.random.Generator) -> Image:
    """Thickness contrast: parts of the film are darker or brighter, with edges from sharp to soft."""
    field = smooth_field(_shape(image), float(rng.uniform(12, 60)), rng)
    steepness = float(rng.uniform(1, 6))
    blobs = 0.5 + 0.5 * np.tanh(steepness * (field - rng.uniform(0, 1.5))).astype(np.float32)
    depth = float(rng.uniform(0.3, 1.5)) * float(image.std()) * float(rng.choice([-1, 1]))
    return np.asarray(image + np.float32(depth) * blobs)


def background(image: Image, rng: np.random.Generator) -> Image:
    """A strong background of low frequency: a rolling film, stray light, charging."""
    field = smooth_field(_shape(image), float(rng.uniform(20, 110)), rng)
    return image + np.float32(rng.uniform(0.3, 1.8) * image.std()) * field


def uneven_light(image: Image, rng: np.random.Generator) -> Image:
    """A ramp of the illumination, whose noise rises with it."""
    r, c = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(
        image * (1 + rng.uniform(0, 0.5) * (r * np.cos(angle) + c * np.sin(angle)).astype(np.float32))
    )


def inverted(image: Image, rng: np.random.Generator) -> Image:
    """The other sign of contrast: defocus of the other side, a dark-field detector, an inverted picture."""
    return 2 * np.float32(image.mean()) - image


def slightly_blurred(image: Image, rng: np.random.Generator) -> Image:
    """Drift, vibration or a poor focus that leaves some of the lattice."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.1))))


def out_of_focus(image: Image, rng: np.random.Generator) -> Image:
    """Blurred until the lattice is gone and mass contrast is left; with the noise of the camera on it."""
    blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(1.2, 3.0)))
    noise = correlated_noise(_shape(image), float(rng.choice([0, 0.5, 1.0])), rng)
    return np.asarray(blurred + np.float32(rng.uniform(0.2, 1.5) * blurred.std()) * noise)


def noisier(image: Image, rng: np.random.Generator) -> Image:
    """Further noise, of a correlation length from none to long."""
    length = float(rng.choice([0, 0, 0.5, 0.8, 1.5, 3, 6]))
    return image + correlated_noise(_shape(image), length, rng) * np.float32(
        image.std() * rng.uniform(0.1, 0.9)
    )


def saturated(image: Image, rng: np.random.Generator) -> Image:
    """Overexposed: the brightest pixels stand at the camera's limit."""
    return np.minimum(image, np.float32(np.quantile(image[::4, ::4], rng.uniform(0.75, 0.99))))


def other_gamma(image: Image, rng: np.random.Generator) -> Image:
    """A viewer's gamma on a stretched contrast."""
    low, high = np.quantile(image[::4, ::4], [0.01, 0.99])
    stretched = np.clip((image - low) / (high - low + 1e-6), 0, None)
    return np.asarray(stretched ** np.float32(rng.uniform(0.7, 1.4)), dtype=np.float32)


def reduced(image: Image, rng: np.random.Generator) -> Image:
    """A picture that was made smaller, or smoothed, and so has lost its noise and its finest detail."""
    if rng.random() < 0.5:
        factor = float(rng.uniform(0.4, 0.8))
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_CUBIC))
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.8, 1.8))))


def exported(image: Image, rng: np.random.Generator) -> Image:
    """A picture of 8 bits with clipped ends and at times few grey levels, in half the cases through JPEG."""
    low, high = np.quantile(image[::4, ::4], [rng.uniform(0, 0.02), rng.uniform(0.98, 1)])
    levels = float(rng.choice([255, 255, 120, 40]))
    grey = np.round(np.clip((image - low) / (high - low + 1e-6), 0, 1) * levels) * (255 / levels)
    picture = grey.astype(np.uint8)
    if rng.random() < 0.5:
        _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))])
        picture = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)
    return np.asarray(picture, dtype=np.float32)


#: Share of the images that each is done to, in the order in which they are done.
RANDOMISED: dict[Callable[[Image, np.random.Generator], Image], float] = {
    thick_blobs: 0.12,
    background: 0.12,
    uneven_light: 0.15,
    inverted: 0.06,
    slightly_blurred: 0.10,
    out_of_focus: 0.05,
    noisier: 0.25,
    saturated: 0.04,
    other_gamma: 0.10,
    reduced: 0.07,
    exported: 0.08,
}


def expose_again(image: Image, rng: np.random.Generator) -> Image:
    """An image with some of `RANDOMISED` done to it; one in three stays as it was."""
    for change, share in RANDOMISED.items():
        if rng.random() < share:
            image = change(image, rng)
    return np.asarray(image, dtype=np.float32)
