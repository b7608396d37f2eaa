"""The numbers of a frame's regions, all regions at once: spectra, axes, edges and contrast, in torch.

Each step is that of `models.features`; `tests/models/device/test_regions.py` holds both forms together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from models.device.laps import Lap, nothing
from models.device.sight import Crops
from models.device.windows import Squares, ring_reach, side_of
from models.features.axes import ANGLES, APART, HEIGHTS, MOST, ROW_COUNTS, templates
from models.features.contrast import FEWEST
from models.features.edges import BLUR_PX
from models.features.layers import LATERAL, LATERAL_RATIO
from models.features.spectrum import (
    APART_BINS,
    BLUR_BINS,
    BLUR_REACH,
    PEAKS,
    TRANSFORM,
    Bins,
    bins,
)

HIGHEST_PER_NM = 5.0
"""No layer frequency that is looked for is higher [nm⁻¹]."""

CHUNK_PIXELS = 1 << 21
"""So many pixels of crops are cut into half layers at a time, which takes 1 GB at the most."""


@dataclass(frozen=True)
class Tables:
    """What does not depend on the frame, on the device."""

    here: Bins
    spots: Tensor
    """(bins,) where Bragg spots are looked for."""
    adder: Tensor
    """(bins, rings) means over each ring of the whole plane."""
    stack_bins: Tensor
    """(F A 10, 4) the bins around every point of the stacks' templates, and what each of the four weighs."""
    stack_weights: Tensor
    parts: Tensor
    """(10,) what each point of a template counts."""
    tried: Tensor
    """(F,) layer frequencies [nm⁻¹]."""
    zone_bins: Tensor
    zone_weights: Tensor
    zones: tuple[tuple[slice, int], ...]


@lru_cache(maxsize=8)
def tables(frequencies: tuple[float, ...], pixel_size_nm: float, device: str) -> Tables:
    """The tables for known layer frequencies [nm⁻¹] and a sampling [nm]."""
    here = bins(pixel_size_nm)
    known = templates(frequencies, 1 / (TRANSFORM * pixel_size_nm), here.reach)

    def on(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    parts = np.array([1.0, *([ROW_COUNTS / len(HEIGHTS)] * len(HEIGHTS))]) / (1 + ROW_COUNTS)
    return Tables(
        here,
        on(here.spots.ravel()),
        on((here.adder.toarray() / here.number[:, None]).T.astype(np.float32)),
        on(known.stack.bins.astype(np.int64)),
        on(known.stack.weights),
        on(parts.astype(np.float32)),
        on(known.tried.astype(np.float32)),
        on(known.spots.indices.reshape(-1, 4).astype(np.int64)),
        on(known.spots.data.reshape(-1, 4)),
        tuple(known.zones.values()),
    )


def spectra(detail: Tensor, soft: Tensor, here: Bins) -> Tensor:
    """(P, rows, cols) power spectra in the half plane, as `models.features.spectrum.spectrum_of` has them."""
    reach = here.reach
    half = torch.fft.rfft(detail, TRANSFORM, dim=1)[:, : reach + 1]
    transform = torch.fft.fft(half, TRANSFORM, dim=2)
    kept = torch.cat([transform[:, :, -reach:], transform[:, :, : reach + 1]], dim=2)
    area = (soft * soft).sum((1, 2), keepdim=True) + 1e-6
    return (kept.real**2 + kept.imag**2) / area


def blurred(half: Tensor, beyond: int = 0) -> Tensor:
    """`models.features.spectrum.blurred` of half planes (P, rows, cols)."""
    margin = BLUR_REACH + beyond
    whole = torch.cat([half[:, 1 : margin + 1].flip((1, 2)), half], dim=1)
    kernel = [float(k) for k in cv2.getGaussianKernel(2 * BLUR_REACH + 1, BLUR_BINS, cv2.CV_32F).ravel()]
    return _separable(whole, kernel)[:, BLUR_REACH:]


def _separable(images: Tensor, kernel: list[float]) -> Tensor:
    """(P, rows, cols) after a symmetric kernel along both axes, mirrored at the border."""
    reach = len(kernel) // 2
    for axis in (1, 2):
        edges = (reach, reach, 0, 0) if axis == 2 else (0, 0, reach, reach)
        padded, size = pad(images[:, None], edges, mode="reflect")[:, 0], images.shape[axis]
        images = torch.zeros_like(images)
        for i, share in enumerate(kernel):
            images.add_(padded.narrow(axis, i, size), alpha=share)
    return images


def bragg_peaks(ratio: Tensor, known: Tables) -> Tensor:
    """(P, `PEAKS`, 2) strength and flat place of the strongest Bragg spots; -1 where there are fewer."""
    wide = blurred(ratio, beyond=APART_BINS)
    largest = max_pool2d(wide[:, None], 2 * APART_BINS + 1, 1, APART_BINS)[:, 0, APART_BINS:].flatten(1)
    smooth = wide[:, APART_BINS:].flatten(1)
    top = torch.where((smooth >= largest) & known.spots, smooth, torch.full_like(smooth, -1.0))
    strength, place = top.topk(PEAKS, dim=1)
    return torch.stack([strength, place.to(strength.dtype)], dim=2)


def stacking_axes(smooth: Tensor, known: Tables) -> Tensor:
    """(P, `MOST`, 5) `models.features.axes.stacking_axes`, from half planes (P, bins)."""
    count, width = len(smooth), 1 + len(HEIGHTS)
    read = (smooth[:, known.stack_bins] * known.stack_weights).sum(2)
    read = read.view(count, len(known.tried), len(ANGLES), width)
    best, which = (read @ known.parts).max(dim=1)
    angles = torch.as_tensor(ANGLES, dtype=torch.float32, device=smooth.device)
    everyone = torch.arange(count, device=smooth.device)
    found = []
    for _ in range(MOST):
        own, j = best.max(dim=1)
        i = which[everyone, j]
        power, frequency = read[everyone, i, j], known.tried[i]
        row, col = frequency * torch.cos(angles[j]), frequency * torch.sin(angles[j])
        top = power[:, 1:].topk(3, dim=1).values.mean(1)
        found.append(torch.stack([row, col, own, power[:, 0], top], dim=1))
        turn = ((angles[None] - angles[j][:, None] + np.pi / 2).remainder(np.pi) - np.pi / 2).abs()
        best = best.masked_fill(turn < float(APART), -torch.inf)
    return torch.stack(found, dim=1)


def other_zones(smooth: Tensor, known: Tables) -> Tensor:
    """(P, zones) `models.features.axes.other_zones`, from half planes (P, bins)."""
    power = (smooth[:, known.zone_bins] * known.zone_weights).sum(2)
    each = [power[:, rows].view(len(power), count, -1).amin(1).amax(1) for rows, count in known.zones]
    return torch.stack(each, dim=1)


def refined(inside: Tensor, pixel_size_nm: float, places: Tensor) -> Tensor:
    """(P, A, 2) `models.features.axes.refine` of pictures (P, S, S), for reflections (P, A, 2) [nm⁻¹]."""
    pixels = inside.to(torch.complex64)
    phase = -2 * np.pi * pixel_size_nm * torch.arange(inside.shape[1], device=inside.device).double()
    k, step = places.double(), 0.03
    for _ in range(2):
        steps = torch.tensor([-step, 0.0, step], dtype=torch.float64, device=k.device)
        at = k[..., None] + steps  # (P, A, 2, 3)
        waves = torch.polar(torch.ones_like(at[..., None] * phase).float(), (at[..., None] * phase).float())
        rows, cols = waves[:, :, 0], waves[:, :, 1]  # (P, A, 3, S)
        grid = ((rows @ pixels[:, None]) @ cols.transpose(2, 3)).abs().double()
        lines = torch.stack([grid[..., 1], grid[..., 1, :]], dim=2)  # (P, A, 2, 3)
        before, here, after = lines.unbind(3)
        bend = (before - 2 * here + after).clamp(max=0)
        shift = 0.5 * (before - after) / torch.where(bend < 0, bend, torch.full_like(bend, -torch.inf))
        k = k + step * shift.clamp(-1, 1)
        step /= 2
    return k.float()


def half_layers(detail: Tensor, masks: Tensor, pixel_size_nm: float, axes: Tensor) -> list[Tensor]:
    """Regions cut into half layers along their axes, as `models.features.layers.half_layers` does it.

    Parameters
    ----------
    detail : (P, S, S), its masks the same.
    axes : (P, A, 2) reflections of the layers (row, column) [nm⁻¹].

    Returns
    -------
    list
        (P, A, L) pixels of each half layer; (P, A, F, L, 2) real and imaginary part of the sum of its values at each
        of the `LATERAL` frequencies; (P, A, 2) the number that was taken off, and where the first layer lies.
    """
    count, axes_each = axes.shape[:2]
    places = pixel_size_nm * torch.arange(detail.shape[1], device=detail.device, dtype=torch.float64)
    rows, cols = axes.double()[..., 0, None, None], axes.double()[..., 1, None, None]
    along = rows * places[:, None] + cols * places  # (P, A, S, S), in layers
    values, inside = (detail * masks)[:, None], masks[:, None].expand(along.shape)
    turn = (2 * np.pi * along).float()
    sin, cos = ((wave * values).sum((2, 3)).double() for wave in (torch.sin(turn), torch.cos(turn)))
    origin = torch.atan2(-sin, cos) / (2 * np.pi)
    half = 2 * along + (2 * origin + 0.5)[..., None, None]
    least = half.masked_fill(~inside, torch.inf).amin((2, 3)).floor()
    shift = least - least.remainder(2)
    # The widest region and the highest frequency that may be there give the most half layers.
    most = int(2 * np.sqrt(2) * detail.shape[1] * pixel_size_nm * HIGHEST_PER_NM) + 4
    number = (half - shift[..., None, None]).long().clamp(0, most - 1)
    row, col = axes[..., 0, None, None], axes[..., 1, None, None]
    single = places.float()
    across = float(np.float32(2 * np.pi * LATERAL_RATIO)) * (row * single - col * single[:, None])

    def added(what: Tensor) -> Tensor:
        into = torch.zeros((count, axes_each, most), device=detail.device)
        return into.scatter_add_(2, number.flatten(2), what.expand(along.shape).flatten(2))

    sums = [
        torch.stack([added(torch.cos(f * across) * values), -added(torch.sin(f * across) * values)], dim=-1)
        for f in (float(f) for f in LATERAL)
    ]
    return [added(inside.float()), torch.stack(sums, dim=2), torch.stack([shift, origin], dim=2).float()]


def edge_strength(images: Tensor) -> Tensor:
    """(F, h, w) `models.features.edges.strength` of frames (F, h, w)."""
    kernel = [float(share) for share in cv2.getGaussianKernel(9, BLUR_PX, cv2.CV_32F).ravel()]
    padded = pad(_separable(images, kernel)[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]
    down = padded[:, 2:] - padded[:, :-2]
    along = padded[:, :, 2:] - padded[:, :, :-2]
    down = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    along = along[:, :-2] + 2 * along[:, 1:-1] + along[:, 2:]
    return torch.hypot(along, down)


def median_outside(magnitude: Tensor, labels: Tensor) -> Tensor:
    """(F,) median of frames (F, h, w) where no region is; of all of one where regions are everywhere."""
    taken = labels.flatten(1) > 0
    taken = taken & ~taken.all(dim=1, keepdim=True)
    ordered = magnitude.flatten(1).masked_fill(taken, torch.inf).sort(dim=1).values
    count = (~taken).sum(dim=1, keepdim=True)
    middle = torch.cat([(count - 1) // 2, count // 2], dim=1)
    return ordered.gather(1, middle).mean(dim=1)


def contrast(images: Tensor, squares: Squares, pixel_size_nm: float) -> Tensor:
    """(P, 4) mean and standard deviation of each region and of its ring, as `models.features.contrast` has them."""
    reach = ring_reach(pixel_size_nm)
    near, labels, within = squares.of(images, reach), squares.of(squares.labels, reach), squares.within(reach)
    own = (labels == squares.numbers) & within
    around = own.float()[:, None]
    for window in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
        around = max_pool2d(around, window, 1, (window[0] // 2, window[1] // 2))
    ring = (around[:, 0] > 0) & (labels == 0) & within
    enough = ring.sum((1, 2), keepdim=True) > FEWEST
    return torch.cat([_spread(near, own), _spread(near, torch.where(enough, ring, within))], dim=1)


def _spread(images: Tensor, masks: Tensor) -> Tensor:
    """(P, 2) mean and standard deviation of pictures (P, S, S) where their masks are."""
    count = masks.sum((1, 2)).clamp(min=1)
    mean = (images * masks).sum((1, 2)) / count
    away = (images - mean[:, None, None]) * masks
    return torch.stack([mean, ((away * away).sum((1, 2)) / count).sqrt()], dim=1)


def numbers_of(
    images: Tensor, labels: Tensor, asked: Sequence[Crops], lap: Lap = nothing
) -> list[list[Tensor]]:
    """The fields of `models.device.sight.Numbers`, in their order, of each of some frames.

    Parameters
    ----------
    images, labels : (F, h, w) standardised frames and the regions of each, from 1 on.
    asked : crops of each frame's regions, of one pixel size and with the same frequencies; their own labels are not
        looked at.
    """
    device, step, counts = str(images.device), asked[0].pixel_size_nm, [len(each.boxes) for each in asked]
    known = tables(asked[0].frequencies, step, device)
    squares = _squares(labels, asked)
    masks, soft = squares.masks(), squares.windows(step)
    detail = (squares.of(images) - squares.slow(images, step)) * soft
    lap("crops")
    power = spectra(detail, soft, known.here)
    over = torch.from_numpy(np.stack([known.here.over(each.background) for each in asked])).to(device)
    flat, ratio = power.flatten(1), power * over[squares.frame]
    rings = torch.stack([flat @ known.adder, (flat * flat) @ known.adder], dim=1)
    peaks = bragg_peaks(ratio, known)
    lap("spectra")
    smooth = blurred(torch.log1p(ratio)).flatten(1)
    axes, zones = stacking_axes(smooth, known), other_zones(smooth, known)
    places = refined(detail * masks, step, axes[..., :2])
    lap("axes")
    strength = edge_strength(images)
    inside = (squares.of(strength) * masks).sum((1, 2)) / masks.sum((1, 2))
    edges = torch.stack([inside, median_outside(strength, labels)[squares.frame]], dim=1)
    around = contrast(images, squares, step)
    lap("edges and contrast")
    # In parts: this needs the most memory by far, and regions may be many and large.
    few = max(1, CHUNK_PIXELS // squares.side**2)
    split = (torch.split(each, few) for each in (detail, masks, places))
    some = [half_layers(one, mask, step, axis) for one, mask, axis in zip(*split, strict=True)]
    cut = [torch.cat(each) for each in zip(*some, strict=True)]
    lap("half layers")
    parts = [torch.split(each, counts) for each in (rings, peaks, axes, zones, places, edges, around, *cut)]
    return [list(each) for each in zip(*parts, strict=True)]


def _squares(labels: Tensor, asked: Sequence[Crops]) -> Squares:
    """The crops of all frames' regions, uploaded together."""
    boxes = np.concatenate([each.boxes for each in asked])
    own = [(frame, label) for frame, each in enumerate(asked) for label in range(1, len(each.boxes) + 1)]
    told = np.concatenate([boxes, np.array(own, boxes.dtype).reshape(-1, 2)], axis=1).astype(np.int64)
    table = torch.from_numpy(told).to(labels.device)
    return Squares(labels, table[:, 4], table[:, :4], side_of(boxes), table[:, 5, None, None])
