"""Domain randomisation in torch: what a camera, an operator or a viewer may do to frames, each thing a function.

All take and give images (B, H, W) on any device and keep where the particles are; each image of a batch draws its own
numbers. Shares are of training images; the order is that of the instrument: specimen, optics, camera, then what is
done to a picture afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import pi

import cv2
import numpy as np
import torch
from torch import Tensor

from models.batched import resizing
from models.examples.augment import BOX, BRIGHT_BOX, BRIGHT_INK, INK
from models.examples.chance import Chance

COARSE = 4
"""Smooth fields are made on a grid so many times coarser than the image."""
PIXEL_SIZE_ERROR = 0.05
"""Pixel sizes are given wrong by up to this share, either way."""
MARGIN_PX = 16
"""Images are mirrored this far over their border before a blur: over four of the widest standard deviations [px]."""


def _gaussian(shape: tuple[int, int], sigma_px: Tensor) -> Tensor:
    """Transfer (B, H, W/2 + 1) of a Gaussian blur of standard deviations (B, 1, 1) [px]."""
    r = torch.fft.fftfreq(shape[0], device=sigma_px.device)[None, :, None]
    c = torch.fft.rfftfreq(shape[1], device=sigma_px.device)[None, None, :]
    return torch.exp(-2 * pi**2 * sigma_px**2 * (r**2 + c**2))


def _filtered(images: Tensor, transfer: Tensor) -> Tensor:
    result: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=images.shape[-2:])
    return result


def blurred(images: Tensor, sigma_px: Tensor) -> Tensor:
    """Images blurred by Gaussians of standard deviations (B, 1, 1), at most 3.5 px, mirrored at the border."""
    m = MARGIN_PX
    padded = torch.nn.functional.pad(images[:, None], (m, m, m, m), mode="reflect")[:, 0]
    shape = (padded.shape[1], padded.shape[2])
    return _filtered(padded, _gaussian(shape, sigma_px))[:, m:-m, m:-m]


def _spread(images: Tensor) -> Tensor:
    """(B, 1, 1) standard deviation of each image."""
    return images.std((1, 2), correction=0, keepdim=True)


def _quantile(images: Tensor, share: Tensor) -> Tensor:
    """(B, 1, 1) value below which a share (B, 1, 1) of every fourth pixel of every fourth row lies."""
    ordered = images[:, ::4, ::4].flatten(1).sort(1).values
    place = share[:, :, 0] * (ordered.shape[1] - 1)
    low = place.floor().long().clamp(0, ordered.shape[1] - 1)
    high = (low + 1).clamp(max=ordered.shape[1] - 1)
    below, above = ordered.gather(1, low), ordered.gather(1, high)
    return (below + (place - low) * (above - below))[:, :, None]


def correlated_noise(like: Tensor, length_px: Tensor, chance: Chance) -> Tensor:
    """Gaussian noise of the shape of `like` (B, H, W), unit variance, correlated over (B, 1, 1) [px]; 0 is white."""
    noise = chance.normal(like.shape)
    noise = _filtered(noise, _gaussian((like.shape[1], like.shape[2]), length_px))
    return noise / (_spread(noise) + 1e-6)


def smooth_field(like: Tensor, length_px: Tensor, chance: Chance) -> Tensor:
    """As `correlated_noise`, of zero mean, for lengths (B, 1, 1) from 8 px on.

    It is cut out of a field twice as wide, or long lengths would be periodic, and made on a coarse grid.
    """
    b, h, w = like.shape
    coarse = (-(-h // COARSE), -(-w // COARSE))
    wide = (2 * coarse[0], 2 * coarse[1])
    grid = _filtered(chance.normal((b, *wide)), _gaussian(wide, length_px / COARSE))
    grid = grid[:, : coarse[0], : coarse[1]]
    field = torch.nn.functional.interpolate(grid[:, None], scale_factor=float(COARSE), mode="bicubic")
    field = field[:, 0, :h, :w]
    field = field - field.mean((1, 2), keepdim=True)
    return field / (_spread(field) + 1e-6)


def thick_blobs(images: Tensor, chance: Chance) -> Tensor:
    """Thickness contrast: parts of the film are darker or brighter, with edges from sharp to soft."""
    b = len(images)
    field = smooth_field(images, chance.uniform(b, 12, 60), chance)
    blobs = 0.5 + 0.5 * torch.tanh(chance.uniform(b, 1, 6) * (field - chance.uniform(b, 0, 1.5)))
    return images + chance.uniform(b, 0.3, 1.5) * chance.choice(b, (-1, 1)) * _spread(images) * blobs


def background(images: Tensor, chance: Chance) -> Tensor:
    """A strong background of low frequency: a rolling film, stray light, charging."""
    b = len(images)
    field = smooth_field(images, chance.uniform(b, 20, 110), chance)
    return images + chance.uniform(b, 0.3, 1.8) * _spread(images) * field


def uneven_light(images: Tensor, chance: Chance) -> Tensor:
    """A ramp of the illumination, whose noise rises with it."""
    b, h, w = images.shape
    r = torch.linspace(-1, 1, h, device=images.device)[None, :, None]
    c = torch.linspace(-1, 1, w, device=images.device)[None, None, :]
    angle = chance.uniform(b, 0, 2 * pi)
    return images * (1 + chance.uniform(b, 0, 0.5) * (r * torch.cos(angle) + c * torch.sin(angle)))


def inverted(images: Tensor, chance: Chance) -> Tensor:
    """The other sign of contrast: defocus of the other side, a dark-field detector, an inverted picture."""
    return 2 * images.mean((1, 2), keepdim=True) - images


def slightly_blurred(images: Tensor, chance: Chance) -> Tensor:
    """Drift, vibration or a poor focus that leaves some of the lattice."""
    return blurred(images, chance.uniform(len(images), 0.4, 1.1))


def out_of_focus(images: Tensor, chance: Chance) -> Tensor:
    """Blurred until the lattice is gone and mass contrast is left; with the noise of the camera on it."""
    b = len(images)
    soft = blurred(images, chance.uniform(b, 1.2, 3.0))
    noise = correlated_noise(images, chance.choice(b, (0, 0.5, 1.0)), chance)
    return soft + chance.uniform(b, 0.2, 1.5) * _spread(soft) * noise


def noisier(images: Tensor, chance: Chance) -> Tensor:
    """Further noise, of a correlation length from none to long."""
    b = len(images)
    noise = correlated_noise(images, chance.choice(b, (0, 0, 0.5, 0.8, 1.5, 3, 6)), chance)
    return images + noise * _spread(images) * chance.uniform(b, 0.1, 0.9)


def saturated(images: Tensor, chance: Chance) -> Tensor:
    """Overexposed: the brightest pixels stand at the camera's limit."""
    return torch.minimum(images, _quantile(images, chance.uniform(len(images), 0.75, 0.99)))


def other_gamma(images: Tensor, chance: Chance) -> Tensor:
    """A viewer's gamma on a stretched contrast."""
    low, high = (_quantile(images, torch.full_like(images[:, :1, :1], q)) for q in (0.01, 0.99))
    stretched = ((images - low) / (high - low + 1e-6)).clamp(min=0)
    return stretched ** chance.uniform(len(images), 0.7, 1.4)


@lru_cache(maxsize=512)
def _reduction(size: int, smaller: int) -> Tensor:
    """The matrix (size, size) by which a column is made smaller and brought back to its length."""
    small, back = resizing(size, smaller, cv2.INTER_AREA), resizing(smaller, size, cv2.INTER_CUBIC)
    return torch.from_numpy(back @ small)


def reduced(images: Tensor, chance: Chance) -> Tensor:
    """Pictures that were made smaller, or smoothed, and so have lost their noise and their finest detail."""
    b, h, w = images.shape
    soft = blurred(images, chance.uniform(b, 0.8, 1.8))
    factors = chance.uniform(b, 0.4, 0.8).flatten().tolist()
    rows, columns = (
        torch.stack([_reduction(n, max(2, round(n * factor))) for factor in factors]).to(images.device)
        for n in (h, w)
    )
    small = rows @ images @ columns.transpose(1, 2)
    return torch.where(chance.rand((b, 1, 1)) < 0.5, small, soft)


def median_filtered(images: Tensor, chance: Chance) -> Tensor:
    """The median of each pixel's 3 × 3 surroundings, as viewers smooth by; at times twice."""
    once = median_of_nine(images)
    return torch.where(chance.rand((len(images), 1, 1)) < 0.2, median_of_nine(once), once)


def median_of_nine(images: Tensor) -> Tensor:
    """Images (B, H, W), each pixel the median of its 3 × 3 surroundings, the border repeated, as OpenCV has it."""
    padded = torch.nn.functional.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    h, w = images.shape[1:]
    around = [padded[:, r : r + h, c : c + w] for r in range(3) for c in range(3)]
    return torch.stack(around).median(0).values


@lru_cache(maxsize=512)
def _detour(size: int, other: int, there: int, back: int) -> Tensor:
    """The matrix (size, size) by which a column is brought to another length and back."""
    return torch.from_numpy(resizing(other, size, back) @ resizing(size, other, there))


def resampled(images: Tensor, chance: Chance) -> Tensor:
    """Pictures that a viewer brought to another number of pixels, fewer or more, by one of the common ways."""
    factors = chance.uniform(len(images), 0.6, 1.6).flatten().tolist()
    ways = chance.integers(len(images), 3).tolist()
    there = [(cv2.INTER_NEAREST_EXACT, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[way] for way in ways]
    rows, columns = (
        torch.stack(
            [
                _detour(n, max(2, round(n * factor)), way, cv2.INTER_CUBIC)
                for factor, way in zip(factors, there, strict=True)
            ]
        ).to(images.device)
        for n in images.shape[1:]
    )
    return rows @ images @ columns.transpose(1, 2)


#: Annex K of ITU-T T.81: by how much JPEG divides the frequencies of a grey block at quality 50.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip


def jpeg(pictures: Tensor, quality: Tensor) -> Tensor:
    """Pictures (B, H, W) of greys from 0 to 255 as JPEG of a quality (B, 1, 1) from 1 to 100 gives them back."""
    b, h, w = pictures.shape
    bottom, right = -h % 8, -w % 8
    padded = torch.nn.functional.pad(pictures[:, None], (0, right, 0, bottom), mode="replicate")[:, 0] - 128
    k, n = np.mgrid[:8, :8]
    cosines = np.sqrt(np.where(k == 0, 1, 2) / 8) * np.cos(np.pi * (2 * n + 1) * k / 16)
    basis = torch.tensor(cosines, dtype=torch.float32, device=pictures.device)
    quality = quality.round()
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    table = torch.tensor(LUMINANCE, dtype=torch.float32, device=pictures.device)
    table = ((table * scale + 50) / 100).floor().clamp(1, 255)[:, None, None]
    blocks = padded.view(b, padded.shape[1] // 8, 8, padded.shape[2] // 8, 8).transpose(2, 3)
    kept = (basis @ blocks @ basis.T / table).round() * table
    back = (basis.T @ kept @ basis).transpose(2, 3).reshape(padded.shape)
    return (back + 128).round().clamp(0, 255)[:, :h, :w]


def exported(images: Tensor, chance: Chance) -> Tensor:
    """Pictures of 8 bits with clipped ends and at times few grey levels, in half the cases through JPEG."""
    b = len(images)
    low, high = _quantile(images, chance.uniform(b, 0, 0.02)), _quantile(images, chance.uniform(b, 0.98, 1))
    levels = chance.choice(b, (255, 255, 120, 40))
    grey = ((images - low) / (high - low + 1e-6)).clamp(0, 1)
    pictures = ((grey * levels).round() * (255 / levels)).floor()
    coded = jpeg(pictures, chance.uniform(b, 35, 95))
    return torch.where(chance.rand((b, 1, 1)) < 0.5, coded, pictures)


#: Share of the images that each is done to, in the order in which they are done.
RANDOMISED: dict[Callable[[Tensor, Chance], Tensor], float] = {
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
    median_filtered: 0.08,
    resampled: 0.08,
    exported: 0.12,
}


def expose_again(images: Tensor, chance: Chance) -> Tensor:
    """Images (B, H, W) with some of `RANDOMISED` done to each; one in three stays as it was."""
    exposed = images.clone()
    for change, share in RANDOMISED.items():
        chosen = chance.some(len(images), share)
        if len(chosen):
            exposed[chosen] = change(exposed[chosen], chance)
    return exposed


def turn_and_scale(images: Tensor, labels: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Square images (B, N, N) and labels, each in one of the eight symmetries; half at any angle and scale (± 15 %).

    Of the others 6 in 10 are scaled alone, as a pixel size that is given wrong by up to `PIXEL_SIZE_ERROR` does it.
    """
    b = len(images)
    turns, flips = chance.integers(b, 4).tolist(), chance.integers(b, 2).tolist()

    def placed(stack: Tensor) -> Tensor:
        each = [one.rot90(turn) for one, turn in zip(stack, turns, strict=True)]
        return torch.stack([one.flip(1) if flip else one for one, flip in zip(each, flips, strict=True)])

    images, labels = placed(images), placed(labels)
    kind = chance.rand((b,))
    chosen = (kind < 0.5).nonzero()[:, 0]
    if len(chosen):
        angle = chance.uniform(len(chosen), 0, 2 * pi)
        scale = torch.exp(chance.uniform(len(chosen), -0.15, 0.15))
        images[chosen], labels[chosen] = moved(images[chosen], labels[chosen], angle, scale)
    chosen = ((kind >= 0.5) & (kind < 0.8)).nonzero()[:, 0]
    if len(chosen):
        scale = 1 + chance.uniform(len(chosen), -PIXEL_SIZE_ERROR, PIXEL_SIZE_ERROR)
        none = torch.zeros_like(scale)
        images[chosen], labels[chosen] = moved(images[chosen], labels[chosen], none, scale)
    return images, labels


def moved(images: Tensor, labels: Tensor, angle: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Square images (B, N, N) and labels turned about their middles by angles and enlarged by scales (B, 1, 1)."""
    cosine, sine, none = torch.cos(angle) / scale, torch.sin(angle) / scale, torch.zeros_like(angle)
    matrix = torch.cat([torch.cat([cosine, -sine, none], 2), torch.cat([sine, cosine, none], 2)], 1)
    grid = torch.nn.functional.affine_grid(matrix, [len(images), 1, *images.shape[1:]], align_corners=False)
    return (
        _sampled(images, grid, "bicubic"),
        _sampled(labels.float(), grid, "nearest").to(labels.dtype),
    )


def _sampled(images: Tensor, grid: Tensor, mode: str) -> Tensor:
    sampled = torch.nn.functional.grid_sample(
        images[:, None], grid, mode=mode, padding_mode="reflection", align_corners=False
    )
    return sampled[:, 0]


def burn_in(images: Tensor, labels: Tensor, stamps: Tensor) -> tuple[Tensor, Tensor]:
    """Images with scale bars or data lines as viewers burn them in; there is no particle under a plain box.

    Parameters
    ----------
    stamps : (B, H, W) bits, from `models.examples.augment.stamp`.
    """
    low, high = images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)
    for what, bright in ((BOX, BRIGHT_BOX), (INK, BRIGHT_INK)):
        level = torch.where((stamps & bright) > 0, high, low)
        images = torch.where((stamps & what) > 0, level, images)
    return images, torch.where((stamps & BOX) > 0, torch.zeros_like(labels), labels)
