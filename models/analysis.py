"""The analysis of one frame: a pure function of its pixels, their size and a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.blocks import analyse_in_blocks, blocks_of
from models.bundle import Bundle
from models.device.sight import DIRECT, Sight, measure_on
from models.errors import CannotAnalyse
from models.features.measure import LAYER_FREQUENCIES, Measured, measure
from models.features.readings import read_further
from models.forest import as_rows
from models.illumination import all_lit, filled, unjudged, without
from models.preprocess import Canonical, canonical, fill_masked, has_gaps
from models.quality.frame import USUAL_ENERGY_KEV, frame_quality
from models.quality.likeness import frame_statistics
from models.results import CLASSES, Analysis, Particle, sure
from models.segment import probability_maps, regions

clock: Callable[[], float] = time.perf_counter
"""What stages are timed by [s]; a benchmark on a shared computer takes processor time instead."""
SMALLEST_FIELD_NM = 3.2
"""A frame whose shorter side is smaller shows no whole particle with its surroundings [nm]."""


def layer_frequencies(material: str | None) -> list[float] | None:
    """Layer frequencies [nm⁻¹] of a material named by the operator; `None`: all known ones are tried.

    Raises
    ------
    CannotAnalyse
        A material that is not known.
    """
    if material is None:
        return None
    by_name = {name.lower(): frequency for name, frequency in LAYER_FREQUENCIES.items()}
    if material.lower() not in by_name:
        raise CannotAnalyse(f"no material {material} is known; there are {', '.join(LAYER_FREQUENCIES)}")
    return [by_name[material.lower()]]


def analyse(
    image: npt.NDArray[Any],
    pixel_size_nm: float,
    bundle: Bundle,
    material: str | None = None,
    keep: bool = False,
    energy_kev: float = USUAL_ENERGY_KEV,
    labelled: bool = True,
) -> Analysis:
    """Segment and classify one frame.

    Parameters
    ----------
    image : (H, W) counts of any real type; gain and offset do not matter.
    pixel_size_nm : of the frame [nm].
    material : restricts the stacking reading to this material's layer spacing.
    keep : every particle with what its features were read from, so that it can be explained.
    energy_kev : of the electrons; the defocus that Thon rings tell follows from it.
    labelled : with the label image, unless nobody wants it; it costs time, for it is as large as the frame.

    Raises
    ------
    CannotAnalyse
        Not a finite two-dimensional picture, a field too small to judge, or an unknown material.
    """
    if image.ndim != 2 or image.dtype.kind not in "buif":
        raise CannotAnalyse(f"an array of shape {image.shape} and type {image.dtype} is no picture")
    if not np.isfinite(pixel_size_nm) or pixel_size_nm <= 0:
        raise CannotAnalyse(f"{pixel_size_nm} nm is no pixel size")
    if min(image.shape) * pixel_size_nm < SMALLEST_FIELD_NM or min(image.shape) < 32:
        raise CannotAnalyse(
            f"a field of {image.shape[0]} × {image.shape[1]} px at {pixel_size_nm:.4g} nm/px is too small: "
            f"at least 32 px and {SMALLEST_FIELD_NM} nm a side are needed"
        )
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise CannotAnalyse("the frame holds values that are not finite")
    asked = _Asked(pixel_size_nm, bundle, layer_frequencies(material), keep, energy_kev, labelled)
    image, unit = _within_reach(image)
    began = clock()
    blocks = blocks_of((image.shape[0], image.shape[1]), pixel_size_nm / bundle.preprocessing.pixel_size_nm)
    seen = _seen(image, asked) if len(blocks) == 1 else None
    blind = None if (seen.light.everywhere if seen else all_lit(image)) else unjudged(image)
    if blind is not None and blind.any():
        # Which particles lie there is told by the label image.
        image, seen, asked = filled(image, blind), None, replace(asked, labelled=True)
    light_ms = (clock() - began) * 1e3
    if len(blocks) > 1:
        result = analyse_in_blocks(
            image, blocks, lambda part: _analyse_whole(part, asked, _seen(part, asked))
        )
        result.timings_ms["preprocess"] += light_ms
    else:
        result = _analyse_whole(image, asked, _seen(image, asked) if seen is None else seen, began)
    result.quality["mean_counts"] = float(result.quality["mean_counts"]) * unit
    if "noise_power" in result.quality:
        result.quality["noise_power"] = float(result.quality["noise_power"]) * unit * unit
    result.quality["unjudged_share"] = 0.0 if blind is None else np.count_nonzero(blind) / blind.size
    return result if blind is None else without(result, blind)


@dataclass(frozen=True)
class _Asked:
    """How a frame is to be analysed."""

    pixel_size_nm: float
    bundle: Bundle
    frequencies: list[float] | None
    keep: bool
    energy_kev: float
    labelled: bool


def _analyse_whole(
    image: npt.NDArray[Any], asked: _Asked, seen: Sight | None, began: float | None = None
) -> Analysis:
    """A frame, or a block of one, that is known to be a picture of a size that can be held.

    Parameters
    ----------
    seen : what a device sees in it, where there is one.
    began : when its preprocessing began, by `clock` [s]; now, where that is not given.
    """
    pixel_size_nm, bundle = asked.pixel_size_nm, asked.bundle
    timings: dict[str, float] = {}
    started = began or clock()

    def lap(stage: str) -> None:
        nonlocal started
        now = clock()
        timings[stage] = (now - started) * 1e3
        started = now

    prepared = seen.prepared if seen else canonical(image, pixel_size_nm, bundle.preprocessing)
    step, sample = bundle.preprocessing.pixel_size_nm, seen.sample if seen else None
    quality, spectrum = frame_quality(image, prepared.image, step, pixel_size_nm, asked.energy_kev, sample)
    lap("preprocess")

    if quality["verdict"] == "constant":
        maps = np.zeros((2, *prepared.image.shape), np.float32)
    else:
        maps = seen.maps if seen else probability_maps(prepared.image, bundle.network)
    labels = regions(maps, step, bundle.segmentation)
    lap("segment")

    if seen is None or asked.keep or bundle.device is None:
        measured = measure(prepared.image, labels, step, asked.frequencies, asked.keep)
    else:
        measured = measure_on(bundle.device, prepared.image, labels, step, asked.frequencies)
    lap("measure")

    particles, masks, covered = _particles(prepared, labels, measured, asked)
    quality["covered"] = covered
    lap("classify")

    if bundle.likeness is not None and spectrum is not None:
        shape = seen.shape if seen else None
        statistics = frame_statistics(spectrum, prepared.image, maps[0], shape)
        quality |= bundle.likeness.judge(statistics, [m.values for m in _inside(measured, labels)])
    lap("likeness")
    return Analysis(
        shape=(image.shape[0], image.shape[1]),
        pixel_size_nm=pixel_size_nm,
        particles=tuple(particles),
        quality=quality,
        timings_ms=timings,
        bundle=bundle.id,
        backend=bundle.device.backend if seen and bundle.device else bundle.backend,
        labels=masks,
    )


def _seen(image: npt.NDArray[Any], asked: _Asked) -> Sight | None:
    """What the bundle's device sees in a frame (H, W); `None` where the bundle has none."""
    device = asked.bundle.device
    if device is None:
        return None
    if has_gaps(image) or image.dtype.name not in DIRECT:
        image = fill_masked(image)
    # Files are often read as views that can't be written to, or have the other order of bytes; torch takes neither.
    image = np.require(image, image.dtype.newbyteorder("="), ("C", "W"))
    return device.see(image, asked.pixel_size_nm)


def _inside(measured: list[Measured], labels: npt.NDArray[np.int32]) -> list[Measured]:
    """What was measured of the regions that the border does not cut: those that the forest learnt from."""
    cut = set(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]).tolist())
    return [each for region, each in enumerate(measured, start=1) if region not in cut]


def _particles(
    prepared: Canonical, labels: npt.NDArray[np.int32], measured: list[Measured], asked: _Asked
) -> tuple[list[Particle], npt.NDArray[np.int32] | None, float]:
    """The particles of a frame, their labels in its own pixels (H, W), and the share of it that they cover.

    A region that is `empty` is labelled 0, and covers nothing.

    Parameters
    ----------
    labels : (h, w) the regions in the standardised frame.
    measured : of each region.
    """
    bundle, pixel_size_nm = asked.bundle, asked.pixel_size_nm
    nearest = prepared.nearest()
    probabilities = bundle.forest(as_rows([m.values for m in measured], bundle.feature_names))
    faulted = np.flatnonzero(np.argmax(probabilities, axis=1) == CLASSES.index("yes")) if measured else []
    read_further([measured[region].stacks for region in faulted])
    particles: list[Particle] = []
    on_frame = np.zeros(prepared.shape, np.int32) if asked.labelled else None
    covered = 0
    for region, (found, p) in enumerate(zip(measured, probabilities, strict=True), start=1):
        mask, box = _on_frame(labels[found.box] == region, found.box, nearest)
        if mask.size == 0:
            continue  # thinner than one of the frame's own pixels
        number = len(particles) + 1
        best = CLASSES[int(np.argmax(p))]
        if best != "empty":
            covered += int(np.count_nonzero(mask))
            if on_frame is not None:
                on_frame[box][mask] = number
        features = {name: float(value) for name, value in found.values.items()}
        if best == "yes" and found.reading is not None:
            features["stack_place"] = found.reading.place
        total = float(p.sum())
        particles.append(
            Particle(
                label=number,
                particle_class=best,
                probabilities=tuple(float(share) / total for share in p),  # type: ignore[arg-type]
                abstained=not sure(p, bundle.abstain_below),
                features=features,
                measured=found if asked.keep else None,
                **_outlined(mask.view(np.uint8), box, pixel_size_nm),
            )
        )
    return particles, on_frame, covered / (prepared.shape[0] * prepared.shape[1])


def _on_frame(
    mask: npt.NDArray[np.bool_],
    box: tuple[slice, slice],
    nearest: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
) -> tuple[npt.NDArray[np.bool_], tuple[slice, slice]]:
    """A region in the frame's own pixels: its mask within its box, and the box. Both are empty where none shows it.

    Parameters
    ----------
    mask : (h, w) the region within its `box` in the standardised frame.
    nearest : canonical rows and columns of the frame's own, from `Canonical.nearest`.
    """
    ends = [
        np.searchsorted(at, (side.start, side.stop)).tolist() for at, side in zip(nearest, box, strict=True)
    ]
    for axis in (1, 0):  # rows last: they are copied whole
        start, stop = ends[axis]
        mask = mask.take(nearest[axis][start:stop] - box[axis].start, axis=axis)
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8)) if mask.size else (0, 0, 0, 0)
    row, col = ends[0][0] + top, ends[1][0] + left
    cut = np.ascontiguousarray(mask[top : top + height, left : left + width])
    return cut, (slice(row, row + height), slice(col, col + width))


def _within_reach(image: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], float]:
    """The image in a unit in which single precision can square it, and that unit; most are 1."""
    if image.dtype.kind != "f":
        return image, 1.0
    largest = max(float(image.max()), -float(image.min()))
    if largest == 0 or 1e-3 <= largest <= 1e12:
        return image, 1.0
    return (image / image.dtype.type(largest)).astype(np.float32), largest


def _outlined(mask: npt.NDArray[np.uint8], box: tuple[slice, slice], pixel_size_nm: float) -> dict[str, Any]:
    """Box, centroid, size and outline of a region, as fields of `Particle`, from its mask (h, w) within its box."""
    top, left = box[0].start, box[1].start
    by_row, by_col = (cv2.reduce(mask, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() for axis in (1, 0))
    pixels = int(by_row.sum())
    row, col = (int(np.arange(len(counts)) @ counts) / pixels for counts in (by_row, by_col))
    area_nm2 = pixels * pixel_size_nm**2
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=len)
    simple = cv2.approxPolyDP(outline, max(0.5, 0.05 / pixel_size_nm), True)[:, 0]
    return {
        "bbox": (top, left, box[0].stop, box[1].stop),
        "centroid": (row + top, col + left),
        "diameter_nm": float(2 * np.sqrt(area_nm2 / np.pi)),
        "area_nm2": float(area_nm2),
        "outline": tuple((float(r + top), float(c + left)) for c, r in simple.tolist()),
    }
