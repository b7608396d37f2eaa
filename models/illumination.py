"""The part of a frame that holds nothing to judge: the shadow of an aperture or a beam stop, bands and stripes.

Where no beam arrives a frame is dark, and its noise is small too, because the noise of a frame is that of its
electrons. A dark particle is dark and as noisy as the film, and a step of the film is noisy on both sides. So what is
told here is told by the noise from pixel to pixel, together with the mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.preprocess import median
from models.results import Analysis, Particle

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float32]

#: Noise and level of a shadow, as shares of those of the frame's bright part. The darkest particles of real frames, at
#: a quarter of the light, have 0.75 of the noise, thick gold of simulated ones 0.4 to 0.6 at 0.23 to 0.36 of the light.
_SHADOW_NOISE, _SHADOW_LEVEL = 0.42, 0.15
#: Level of a shadow that takes a whole side of the frame, which no particle does.
_BAND_LEVEL = 0.35
#: At a tenth of the light and less, what else a camera adds makes more of the noise.
_BLACK_NOISE, _BLACK_LEVEL = 0.7, 0.1
#: Noise of what was filled in by a program, as a share of the frame's.
_FLAT = 0.15
#: A shadow is at least this share of the frame, and reaches its border.
_SMALLEST = 0.012
#: Blocks along the longer side, and the shortest side of a block [px].
_BLOCKS, _BLOCK_PX = 48, 12
#: Stripes along a side are looked for within this share of the frame; narrower ones hide no particle [share, px].
_STRIPES = 0.25
_NARROWEST, _NARROWEST_PX = 0.01, 3
#: A stripe differs from the frame by this share of its level, and by so many standard deviations of its lines.
_STRIPE_LEVEL, _STRIPE_SIGMAS = 0.25, 8.0
#: Of a frame that is dark as a whole nothing is left to compare with.
_LARGEST = 0.9
#: The share of a neighbourhood that is judged at which its own mean and that of a wider one count alike.
_FAR = 0.1
#: The ground of what is put in is a mean over ever smaller neighbourhoods: such parts of the frame's longer side.
_AROUND = (4, 12, 36)
#: Its noise is scaled for a ground between these shares of the mean.
_SHARES = (0.05, 20.0)
#: A glance sees about so many pixels of each block, in two rows, and takes thresholds so many times wider: its figures
#: are noisier.
_GLANCE, _SLACK = 100, 1.3
#: The frame is gone through in strips of so many rows, which stay in the processor's cache [px].
_STRIP = 64


@dataclass(frozen=True)
class Light:
    """The figures of a frame (H, W) by which it is told whether all of it is lit."""

    level: Image
    """(h, w) mean counts of the blocks of `grid_of`."""
    noise: Image
    """(h, w) their noise from pixel to pixel [counts]."""
    black: float
    """Counts of no light: 0, or less in frames with negative counts."""
    lines: tuple[tuple[Image, Image], tuple[Image, Image]]
    """Noise and mean of every row (H,), and of every column (W,)."""

    @property
    def everywhere(self) -> bool:
        """Whether there is nothing that is not judged."""
        return not self.blocks().any() and not any(wide for axis in self.stripes() for wide in axis)

    def blocks(self, slack: float = 1.0) -> Mask:
        """(h, w) the blocks that lie in dark or flat areas which reach the border of the frame.

        Parameters
        ----------
        slack : so many times as much noise and light still counts as a shadow's.
        """
        usual = float(np.percentile(self.noise, 75))
        if usual <= 0:
            return np.zeros(self.noise.shape, np.bool_)
        bright = float(np.percentile(self.level, 75)) - self.black
        quiet, share = (
            self.noise / (slack * usual),
            (self.level - self.black) / (slack * max(bright, 1e-9)),
        )
        dark = (quiet < _SHADOW_NOISE) & (share < _SHADOW_LEVEL)
        dark |= (quiet < _BLACK_NOISE) & (share < _BLACK_LEVEL)
        band = dark | (quiet < _SHADOW_NOISE) & (share < _BAND_LEVEL)
        found = [_at_border(part, slack=slack) for part in (quiet < _FLAT, dark)]
        return np.asarray(found[0] | found[1] | _at_border(band, whole_side=True, slack=slack), np.bool_)

    def stripes(self) -> list[tuple[int, int]]:
        """Of rows and of columns: how many lines from the first, and from the last, are a stripe."""
        return [(_stripe(noise, level), _stripe(noise[::-1], level[::-1])) for noise, level in self.lines]


def grid_of(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of blocks of a frame (H, W)."""
    side = max(_BLOCK_PX, max(shape) // _BLOCKS)
    return max(2, shape[0] // side), max(2, shape[1] // side)


def light_of(pixels: Image) -> Light:
    """The figures of a frame (H, W)."""
    rough, grid = _rough(pixels), grid_of((pixels.shape[0], pixels.shape[1]))[::-1]
    sample = pixels[::4, ::4]
    across, along = ((np.sqrt(rough.mean(axis=axis)), pixels.mean(axis=axis)) for axis in (1, 0))
    return Light(
        level=np.asarray(cv2.resize(pixels, grid, interpolation=cv2.INTER_AREA)),
        noise=np.sqrt(cv2.resize(rough, grid, interpolation=cv2.INTER_AREA)),
        black=min(0.0, float(np.percentile(sample, 0.1))) if float(sample.min()) < 0 else 0.0,
        lines=(across, along),
    )


def all_lit(image: npt.NDArray[Any]) -> bool:
    """Whether a glance shows that `unjudged` finds nothing; where it does not, `unjudged` has to tell.

    Parameters
    ----------
    image : (H, W) counts of any real type.
    """
    light = _glance(image)
    if float(np.percentile(light.noise, 75)) <= 0 or light.blocks(_SLACK).any():
        return False
    return not any(_may_be_stripes(*axis) for axis in light.lines)


def unjudged(image: npt.NDArray[Any]) -> Mask:
    """The pixels (H, W) of a frame where nothing can be judged: without beam, or filled in by a program.

    Parameters
    ----------
    image : (H, W) counts of any real type.
    """
    pixels = np.ascontiguousarray(image, dtype=np.float32)
    light = light_of(pixels)
    mask = _shadows(pixels, light) | _stripes(pixels, light)
    return mask if np.count_nonzero(mask) <= _LARGEST * mask.size else np.zeros(mask.shape, np.bool_)


def filled(image: npt.NDArray[Any], mask: Mask) -> npt.NDArray[Any]:
    """A frame (H, W) with what is not judged put in from the rest; the frame itself where all of it is judged.

    The place is taken by the smooth ground around it with the rest's own variation, drawn anew for each pixel (always
    the same for the same frame) and scaled as the root of the ground: as shot noise is. So the frame is standardised by
    what is judged.
    """
    if not mask.any():
        return image
    pixels = np.ascontiguousarray(image, dtype=np.float32)
    known = (~mask).astype(np.float32)
    level = float(pixels[~mask].mean())
    ground = np.full(pixels.shape, level, np.float32)
    for part in _AROUND:
        width = max(image.shape) / part
        near = cv2.GaussianBlur(known, (0, 0), width)
        total = cv2.GaussianBlur(pixels * known, (0, 0), width)
        # Where little is near, the wider mean counts: a seam between the two would look like a particle's outline.
        ground = (total + _FAR * ground) / (near + _FAR)
    strength = np.sqrt(np.clip(ground / level, *_SHARES)) if level > 0 else np.ones_like(ground)
    rest = ((pixels - ground) / strength)[~mask]
    drawn = np.random.default_rng(0).choice(rest, int(mask.sum()))
    done = pixels.copy()
    done[mask] = ground[mask] + strength[mask] * drawn
    return done


def without(result: Analysis, mask: Mask) -> Analysis:
    """The result without the particles of which more than half, or the middle, lies where nothing is judged.

    The others keep their order and are numbered anew, in the label image too.
    """
    if not mask.any():
        return result
    kept: list[Particle] = []
    relabel = np.zeros(max((p.label for p in result.particles), default=0) + 1, np.int32)
    for particle in result.particles:
        r0, c0, r1, c1 = particle.bbox
        row, column = (
            min(n - 1, max(0, round(at))) for n, at in zip(mask.shape, particle.centroid, strict=True)
        )
        own = None if result.labels is None else result.labels[r0:r1, c0:c1] == particle.label
        inside = own is not None and own.any() and mask[r0:r1, c0:c1][own].mean() > 0.5
        if mask[row, column] or inside:
            continue
        kept.append(replace(particle, label=len(kept) + 1))
        relabel[particle.label] = len(kept)
    labels = None if result.labels is None else relabel[result.labels]
    return replace(result, particles=tuple(kept), labels=labels)


def _shadows(pixels: Image, light: Light) -> Mask:
    """Dark or flat areas that reach the border of the frame."""
    h, w = pixels.shape
    blocks, level = light.blocks(), light.level
    if not blocks.any():
        return np.zeros(pixels.shape, np.bool_)
    usual = float(np.percentile(light.noise, 75))
    # The border of a shadow lies between two blocks: where the frame is nearer to the dark than to the bright.
    wide = cv2.dilate(blocks.astype(np.uint8), np.ones((3, 3), np.uint8))
    area = cv2.resize(wide, (w, h), interpolation=cv2.INTER_NEAREST) > 0
    within = cv2.resize(blocks.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST) > 0
    middle = 0.5 * (float(np.median(level[blocks])) + float(np.median(level[~blocks])))
    blurred = cv2.blur(pixels, (5, 5))
    side_of = blurred < middle if np.median(level[blocks]) < middle else blurred > middle
    coarse = cv2.blur(_rough(pixels), (9, 9))  # by running sums: where it is 0, it may come out just below
    coarse_noise = np.sqrt(np.maximum(coarse, 0, out=coarse))
    return np.asarray((within & ((coarse_noise < 0.8 * usual) | side_of)) | (area & side_of))


def _rough(pixels: Image) -> Image:
    """The squared difference of each pixel from its neighbours across rows and columns, (H, W); 0 in any ramp."""
    rough = np.empty_like(pixels)
    for top in range(0, len(pixels), _STRIP):
        rows, cross = pixels[top : top + _STRIP], rough[top : top + _STRIP]
        below = pixels[top + 1 : top + _STRIP + 1]
        if len(below) < len(rows):  # beyond its border the frame is mirrored, about its last row and column
            below = np.concatenate([below, pixels[-2:-1]])
        step = rows - below
        np.subtract(step[:, :-1], rows[:, 1:], out=cross[:, :-1])
        cross[:, :-1] += below[:, 1:]
        cross[:, -1] = step[:, -1] - rows[:, -2] + below[:, -2]
        cross *= cross
    return rough


def _glance(image: npt.NDArray[Any]) -> Light:
    """`light_of` by some pairs of rows; a row of its lines is a pair of rows, a column two neighbouring columns."""
    height, width = image.shape
    blocks = grid_of((height, width))
    pairs = max(2, _GLANCE * max(blocks) // max(height, width))
    first = np.linspace(0, height - 2, pairs * blocks[0]).round().astype(np.intp)
    upper, lower = (np.asarray(image[rows], np.float32) for rows in (first, first + 1))
    step = upper - lower
    cross = step[:, 1:] - step[:, :-1]
    cross *= cross
    upper += lower
    cols = np.arange(blocks[1]) * (width - 1) // blocks[1]
    figures = []
    for each in (cross, upper):
        lines = each.reshape(blocks[0], pairs, -1).sum(axis=1) / pairs
        size = np.diff([*cols, lines.shape[1]])
        figures.append((np.add.reduceat(lines, cols, axis=1) / size, each.mean(axis=1), lines.mean(axis=0)))
    noise = [np.sqrt(part, dtype=np.float32) for part in figures[0]]
    level = [np.asarray(part / 2, np.float32) for part in figures[1]]
    black = min(0.0, float(np.percentile(image[::4, ::4], 0.1))) if image.dtype.kind in "if" else 0.0
    return Light(level[0], noise[0], black, ((noise[1], level[1]), (noise[2], level[2])))


def _may_be_stripes(noise: Image, level: Image) -> bool:
    """Whether the first or the last lines may be a stripe by `_stripe`, from the figures of pairs of lines."""
    ends = max(1, int(_NARROWEST * len(level)))
    away = np.abs(level - (middle := median(level)))
    far = max(_STRIPE_SIGMAS * 1.4826 * median(away), _STRIPE_LEVEL * abs(middle))
    odd = [noise < _SLACK * _FLAT * median(noise), away > far / _SLACK]
    return any(bool(lines[:ends].all() or lines[-ends:].all()) for lines in odd)


def _at_border(blocks: Mask, whole_side: bool = False, slack: float = 1.0) -> Mask:
    """The connected parts of a mask of blocks that reach its border, or take a side of it, and are large enough."""
    if not blocks.any():
        return blocks
    count, parts, figures, _ = cv2.connectedComponentsWithStats(blocks.astype(np.uint8), connectivity=8)
    least = max(4.0, _SMALLEST * blocks.size) / slack
    sides = (parts[0], parts[-1], parts[:, 0], parts[:, -1])
    needed = 0.95 / slack if whole_side else 1e-9
    kept = [
        part
        for part in range(1, count)
        if figures[part, cv2.CC_STAT_AREA] >= least and max((side == part).mean() for side in sides) >= needed
    ]
    return np.asarray(np.isin(parts, kept))


def _stripes(pixels: Image, light: Light) -> Mask:
    """Stripes along the four sides: lines that a program filled, or far brighter or darker than the frame."""
    mask = np.zeros(pixels.shape, np.bool_)
    (top, bottom), (left, right) = light.stripes()
    h, w = pixels.shape
    mask[:top] = mask[h - bottom :] = True
    mask[:, :left] = mask[:, w - right :] = True
    return mask


def _stripe(noise: npt.NDArray[np.float32], level: npt.NDArray[np.float32]) -> int:
    """How many lines from the first on are a stripe, from the noise and the mean of every line."""
    most = int(_STRIPES * len(level))
    usual, middle = float(np.median(noise)), float(np.median(level))
    flat = noise[:most] < _FLAT * usual
    width = int(np.argmin(flat)) if not flat.all() else 0
    spread = 1.4826 * float(np.median(np.abs(level - middle)))
    away = np.abs(level - middle)
    far = away[:most] > max(_STRIPE_SIGMAS * spread, _STRIPE_LEVEL * abs(middle))
    wide = int(np.argmin(far)) if not far.all() else 0
    # The light fades over many lines; a stripe ends from one line to the next.
    if wide and away[wide + 1] > 0.4 * away[wide - 1]:
        wide = 0
    widest = max(width, wide)
    return widest if widest >= max(_NARROWEST_PX, _NARROWEST * len(level)) else 0
