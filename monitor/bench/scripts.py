"""What a user would write instead of this program, from well-known libraries, one particle at a time.

Each part is measured by itself and told `None` where its library is not installed. The parts do the same work as the
chain's stages as plainly as it can be written; their results are not compared. Runs in a `Lane` of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle, load_bundle

Image = npt.NDArray[np.float32]
Box = tuple[slice, slice]
Clock = Callable[[], float]
PARTS = {
    "read": "RosettaSciIO",
    "preprocess": "SciPy",
    "network": "PyTorch",
    "regions": "scikit-image",
    "measure": "scikit-image",
    "classify": "scikit-learn",
}
"""What each part is written with, by the stage of the chain that it stands for."""
GROUND_NM = 2.5
"""Width of the blur that is taken off as the ground [nm]."""
SIDE = 256
"""Of the transform of each particle [px]."""
MARGIN = 20
"""Around each particle [px]."""

_kept: dict[str, Any] = {}


def _once(name: str, make: Callable[[], Any]) -> Any:
    """What is loaded once and kept, as in a loop over many frames."""
    if name not in _kept:
        _kept[name] = make()
    return _kept[name]


def obvious(path: Path, bundle: Path | None, clock: Clock) -> dict[str, float | None]:
    """Milliseconds of each of the `PARTS` for one file; `None` where its library is missing.

    Parameters
    ----------
    clock : what they are timed by [s].
    """
    judged: Bundle = _once("bundle", lambda: load_bundle(bundle, "cpu"))
    counts, read_ms = _read(path, clock)
    began = clock()
    image = _prepared(counts, 0.5)
    prepare_ms = _since(began, clock)
    maps, network_ms = _maps(image, judged, clock)
    labels, boxes, regions_ms = _regions(maps, clock)
    rows, measure_ms = _measured(image, labels, boxes, clock)
    classify_ms = None if rows is None else _classified(rows, judged, clock)
    times = (read_ms, prepare_ms, network_ms, regions_ms, measure_ms, classify_ms)
    return dict(zip(PARTS, times, strict=True))


def _since(began: float, clock: Clock) -> float:
    return (clock() - began) * 1e3


def _read(path: Path, clock: Clock) -> tuple[npt.NDArray[Any], float | None]:
    try:
        from rsciio.mrc import file_reader
    except ImportError:
        from monitor.read import open_frames

        with open_frames(path, "frames") as file:
            return file.frame(0).pixels, None
    began = clock()
    data = np.asarray(file_reader(str(path))[0]["data"])
    return data, _since(began, clock)


def _prepared(counts: npt.NDArray[Any], zoom: float) -> Image:
    """Outliers removed, ground taken off, resampled by a spline, standardised."""
    from scipy import ndimage

    pixels = counts.astype(np.float32)
    pixels = ndimage.median_filter(pixels, size=3)
    pixels = pixels - ndimage.gaussian_filter(pixels, GROUND_NM / 0.025)
    small = ndimage.zoom(pixels, zoom, order=3)
    return np.asarray((small - small.mean()) / small.std(), dtype=np.float32)


def _maps(image: Image, bundle: Bundle, clock: Clock) -> tuple[Image, float | None]:
    """(2, h, w) probabilities by eager PyTorch; by the bundle's own network, not timed, where there is none."""
    from models.segment import logit_maps, probabilities

    logits = logit_maps(image, bundle.network)  # also where torch judges: the regions are then the chain's
    try:
        import torch

        from models.unet import architecture_of, read_unet
    except ImportError:
        return probabilities(logits), None
    architecture = architecture_of(bundle.details["unet"])
    net = _once("net", lambda: read_unet(bundle.path / "unet.safetensors", architecture).eval())
    high, wide = (n - n % architecture.stride for n in image.shape)
    began = clock()
    with torch.no_grad():
        torch.sigmoid(net(torch.from_numpy(image[:high, :wide])[None, None])).numpy()
    return probabilities(logits), _since(began, clock)


def _regions(maps: Image, clock: Clock) -> tuple[npt.NDArray[Any], list[Box], float | None]:
    try:
        from skimage import measure, morphology
    except ImportError:
        from scipy import ndimage

        labels, _ = ndimage.label(maps[0] > 0.5)
        return labels, ndimage.find_objects(labels), None
    began = clock()
    mask = morphology.remove_small_objects(maps[0] > 0.5, max_size=250)
    labels = measure.label(mask)
    regions = measure.regionprops(labels)
    boxes = [region.slice for region in regions]
    for region in regions:
        measure.find_contours(np.pad(region.image, 1), 0.5)
    return labels, boxes, _since(began, clock)


def _measured(
    image: Image, labels: npt.NDArray[Any], boxes: list[Box], clock: Clock
) -> tuple[list[npt.NDArray[Any]] | None, float | None]:
    """The radial profile, the strongest spots, Sobel edges and contrast of each particle."""
    try:
        from skimage import feature, filters, morphology
    except ImportError:
        return None, None
    began = clock()
    rows = []
    for number, box in enumerate(boxes, start=1):
        here = (
            slice(max(0, box[0].start - MARGIN), box[0].stop + MARGIN),
            slice(max(0, box[1].start - MARGIN), box[1].stop + MARGIN),
        )
        crop, own = image[here], labels[here]
        inside = own == number
        blurred = filters.gaussian(crop, 10)
        power = np.abs(np.fft.fftshift(np.fft.fft2((crop - blurred) * inside, (SIDE, SIDE)))) ** 2
        radius = np.hypot(*np.ogrid[-SIDE // 2 : SIDE // 2, -SIDE // 2 : SIDE // 2]).astype(int)
        profile = np.bincount(radius.ravel(), power.ravel())[:110]
        spots = feature.peak_local_max(power, min_distance=4, num_peaks=6)
        edges = filters.sobel(filters.gaussian(crop, 1))[inside].mean()
        ring = morphology.dilation(inside, morphology.disk(MARGIN)) & (own == 0)
        around = crop[ring].mean() if ring.any() else 0.0
        rows.append(np.concatenate([profile, spots.ravel(), [edges, crop[inside].mean() - around]]))
    return rows, _since(began, clock)


def _classified(rows: list[npt.NDArray[Any]], bundle: Bundle, clock: Clock) -> float | None:
    """scikit-learn's forest, one particle at a time; its rows are cut to as many features as it takes."""
    try:
        from models.forest import load_forest

        forest = _once("forest", lambda: load_forest(bundle.path / "forest.skops"))
    except ImportError:
        return None
    count = len(bundle.feature_names)
    began = clock()
    for row in rows:
        forest.predict_proba(np.resize(np.log1p(np.abs(row)), (1, count)).astype(np.float32))
    return _since(began, clock)


def published_features(path: Path, boxes: list[tuple[int, int, int, int]], clock: Clock) -> float:
    """Milliseconds that the five features of the published recipe take for all of a frame's boxes.

    Mean and standard deviation of the ring sums of |FFT|, of the box, and a centre of mass (Groschner, Choi and
    Scott, *Microsc. Microanal.* 27, 549, 2021).
    """
    from monitor.read import open_frames

    with open_frames(path, "frames") as file:
        pixels = file.frame(0).pixels.astype(np.float64)
    began = clock()
    for top, left, bottom, right in boxes:
        box = pixels[top:bottom, left:right]
        spectrum = np.abs(np.fft.fftshift(np.fft.fft2(box)))
        h, w = box.shape
        radius = np.hypot(*np.ogrid[-(h // 2) : h - h // 2, -(w // 2) : w - w // 2]).astype(int)
        sums = np.bincount(radius.ravel(), spectrum.ravel())
        centre = float((np.arange(len(sums)) * sums).sum() / (sums.sum() + 1e-12))
        np.array([sums.mean(), sums.std(), box.mean(), box.std(), centre])
    return _since(began, clock)
