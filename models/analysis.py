"""The analysis of one frame: a pure function of its pixels, their size and a bundle."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from models.blocks import analyse_in_blocks, blocks_of
from models.bundle import Bundle
from models.errors import CannotAnalyse
from models.features.measure import LAYER_FREQUENCIES, Measured, measure
from models.forest import as_rows
from models.illumination import filled, unjudged, without
from models.preprocess import canonical
from models.quality import frame_quality
from models.results import CLASSES, Analysis, Particle
from models.segment import probability_maps, regions

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
) -> Analysis:
    """Segment and classify one frame.

    Parameters
    ----------
    image : (H, W) counts of any real type; gain and offset do not matter.
    pixel_size_nm : of the frame [nm].
    material : restricts the stacking reading to this material's layer spacing.
    keep : every particle with what its features were read from, so that it can be explained.

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
    frequencies = layer_frequencies(material)
    image, unit = _within_reach(image)
    blind = unjudged(image)
    image = filled(image, blind)
    blocks = blocks_of((image.shape[0], image.shape[1]), pixel_size_nm / bundle.preprocessing.pixel_size_nm)
    if len(blocks) == 1:
        result = _analyse_whole(image, pixel_size_nm, bundle, frequencies, keep)
    else:
        result = analyse_in_blocks(
            image, blocks, lambda part: _analyse_whole(part, pixel_size_nm, bundle, frequencies, keep)
        )
    result.quality["mean_counts"] = float(result.quality["mean_counts"]) * unit
    result.quality["unjudged_share"] = float(blind.mean())
    return without(result, blind)


def _analyse_whole(
    image: npt.NDArray[Any],
    pixel_size_nm: float,
    bundle: Bundle,
    frequencies: list[float] | None,
    keep: bool,
) -> Analysis:
    """A frame, or a block of one, that is known to be a picture of a size that can be held."""
    timings: dict[str, float] = {}
    started = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal started
        now = time.perf_counter()
        timings[stage] = (now - started) * 1e3
        started = now

    prepared = canonical(image, pixel_size_nm, bundle.preprocessing)
    step = bundle.preprocessing.pixel_size_nm
    quality = frame_quality(image, prepared.image, step)
    lap("preprocess")

    if quality["verdict"] == "constant":
        labels = np.zeros(prepared.image.shape, np.int32)
    else:
        labels = regions(probability_maps(prepared.image, bundle.network), step, bundle.segmentation)
    lap("segment")

    measured = measure(prepared.image, labels, step, frequencies, keep)
    on_frame = prepared.to_frame(labels)
    lap("measure")

    particles, relabel = _particles(on_frame, measured, pixel_size_nm, bundle, keep)
    lap("classify")
    return Analysis(
        shape=(image.shape[0], image.shape[1]),
        pixel_size_nm=pixel_size_nm,
        particles=tuple(particles),
        quality=quality,
        timings_ms=timings,
        bundle=bundle.id,
        backend=bundle.backend,
        labels=relabel[on_frame],
    )


def _particles(
    labels: npt.NDArray[np.int32],
    measured: list[Measured],
    pixel_size_nm: float,
    bundle: Bundle,
    keep: bool,
) -> tuple[list[Particle], npt.NDArray[np.int32]]:
    """The particles of a frame, and the label of each region 0, 1, 2, … in the mask: 0 where it is `empty`.

    Parameters
    ----------
    labels : (H, W) the regions in the frame's own pixels.
    measured : of each region.
    keep : every particle with what its features were read from.
    """
    boxes = ndimage.find_objects(labels, max_label=len(measured))
    probabilities = bundle.forest(as_rows([m.values for m in measured], bundle.feature_names))
    particles: list[Particle] = []
    relabel = np.zeros(len(measured) + 1, np.int32)
    for region, (found, p) in enumerate(zip(measured, probabilities, strict=True), start=1):
        box = boxes[region - 1]
        if box is None:
            continue  # thinner than one of the frame's own pixels
        number = len(particles) + 1
        best = CLASSES[int(np.argmax(p))]
        relabel[region] = 0 if best == "empty" else number
        features = {name: float(value) for name, value in found.values.items()}
        if found.reading is not None and best == "yes":
            features["stack_place"] = found.reading.place
        total = float(p.sum())
        outlined = _outlined((labels[box] == region).astype(np.uint8), box, pixel_size_nm)
        particles.append(
            Particle(
                label=number,
                particle_class=best,
                probabilities=tuple(float(share) / total for share in p),  # type: ignore[arg-type]
                abstained=bool(p.max() / total < bundle.abstain_below),
                features=features,
                measured=found if keep else None,
                **outlined,
            )
        )
    return particles, relabel


def _within_reach(image: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], float]:
    """The image in a unit in which single precision can square it, and that unit; most are 1."""
    if image.dtype.kind != "f":
        return image, 1.0
    largest = float(np.abs(image).max())
    if largest == 0 or 1e-3 <= largest <= 1e12:
        return image, 1.0
    return (image / image.dtype.type(largest)).astype(np.float32), largest


def _outlined(mask: npt.NDArray[np.uint8], box: tuple[slice, slice], pixel_size_nm: float) -> dict[str, Any]:
    """Box, centroid, size and outline of a region, as fields of `Particle`, from its mask (h, w) within its box."""
    top, left = box[0].start, box[1].start
    rows, cols = np.nonzero(mask)
    area_nm2 = len(rows) * pixel_size_nm**2
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=len)
    simple = cv2.approxPolyDP(outline, max(0.5, 0.05 / pixel_size_nm), True)[:, 0]
    return {
        "bbox": (top, left, box[0].stop, box[1].stop),
        "centroid": (float(rows.mean()) + top, float(cols.mean()) + left),
        "diameter_nm": float(2 * np.sqrt(area_nm2 / np.pi)),
        "area_nm2": float(area_nm2),
        "outline": tuple((float(r) + top, float(c) + left) for c, r in simple),
    }
