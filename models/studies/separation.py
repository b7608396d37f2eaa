"""Ways of telling touching particles apart, compared: `python -m models.studies.separation --bundle B --data D`.

=============  =======================================================================================
way            what parts a connected piece of the mask
=============  =======================================================================================
`core`         the network's second output: each pixel goes to the nearest core (`models.segment`)
`distance`     watershed of the mask's distance transform, from its maxima (Beucher and Lantuéjoul 1979)
`connected`    nothing
=============  =======================================================================================

All three have the same threshold, filled holes and least sizes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.bundle import load_bundle
from models.errors import ModelError
from models.evaluation.judge import Judge, choose
from models.evaluation.scores import LEAST_PX, f1, match
from models.evaluation.tables import Table, shown
from models.examples.shards import examples_by_split
from models.segment import Image, Labels, Segmentation, probabilities, regions

RISE_NM = 0.25
"""Of two maxima of the distance, both part a piece if each stands so far above the saddle between them [nm]."""

Way = Callable[[Image, float, Segmentation], Labels]


def by_core(maps: Image, pixel_size_nm: float, settings: Segmentation) -> Labels:
    """(2, h, w) probabilities → (h, w) regions, parted by the network's cores."""
    return regions(maps, pixel_size_nm, settings)


def connected(maps: Image, pixel_size_nm: float, settings: Segmentation) -> Labels:
    """(2, h, w) probabilities → (h, w) regions, touching ones together."""
    return regions(np.stack([maps[0], np.zeros_like(maps[0])]), pixel_size_nm, settings)


def by_distance(maps: Image, pixel_size_nm: float, settings: Segmentation) -> Labels:
    """(2, h, w) probabilities → (h, w) regions, parted along the watersheds of the mask's distance transform.

    The watersheds, two pixels wide, are taken out of the mask; the rest is as without them.
    """
    mask = (maps[0] > settings.threshold).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mask, contours, -1, 1, thickness=cv2.FILLED)
    distance = cv2.GaussianBlur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), (0, 0), 1.0)
    summits = _summits(distance, RISE_NM / pixel_size_nm) & (mask > 0)
    count, markers = cv2.connectedComponents(summits.astype(np.uint8))
    if count < 3:
        return connected(maps, pixel_size_nm, settings)
    owner = _flooded(markers.astype(np.float32), distance, mask > 0)
    # A pixel lies on a watershed if two particles are among its neighbours.
    around = np.ones((3, 3), np.uint8)
    highest, lowest = cv2.dilate(owner, around), cv2.erode(np.where(owner > 0, owner, np.inf), around)
    lines = np.isfinite(lowest) & (highest > lowest)
    cut = np.where(lines, np.float32(0), maps[0])
    return connected(np.stack([cut, cut]), pixel_size_nm, settings)


def _summits(distance: Image, rise: float) -> npt.NDArray[np.bool_]:
    """(h, w) where a maximum is that stands `rise` above its surroundings: distance less its reconstruction.

    The reconstruction of `distance` - `rise` under `distance` is found by repeated dilation.
    """
    below = distance - np.float32(rise)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    for _ in range(int(2 * max(distance.shape))):
        grown = np.minimum(cv2.dilate(below, cross), distance)
        if np.array_equal(grown, below):
            break
        below = grown
    return np.asarray((distance - below > 0.5 * rise) & (distance > rise))


def _flooded(owner: Image, distance: Image, mask: npt.NDArray[np.bool_]) -> Image:
    """(h, w) markers → (h, w) owners over the mask: basins are filled from the summits down, half a pixel at a time.

    OpenCV's and SciPy's watersheds order pixels by the step from their neighbour, not by height, so they are no help.
    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    for level in np.arange(float(distance.max()), -0.5, -0.5):
        reachable = mask & (distance >= level)
        while True:
            grown = np.where(reachable & (owner == 0), cv2.dilate(owner, cross), owner)
            if np.array_equal(grown, owner):
                break
            owner = grown
    return owner


WAYS: dict[str, Way] = {"core": by_core, "distance": by_distance, "connected": connected}


def touch(truth: npt.NDArray[np.uint8]) -> bool:
    """Whether any two particles of (h, w) labels adjoin."""
    return any(
        bool(((a != b) & (a > 0) & (b > 0)).any())
        for a, b in ((truth[1:], truth[:-1]), (truth[:, 1:], truth[:, :-1]))
    )


def compare(by: Judge, data: Path, split: str, most: int, seed: int) -> dict[str, Any]:
    """Instance F1 of every way on a split, over all images with particles and over those where particles touch.

    Parameters
    ----------
    split : choose on "validation"; "test" is for what is reported.
    most : images at the most.

    Raises
    ------
    ModelError
        No usable data set.
    """
    from tqdm import tqdm

    examples = examples_by_split(data, [split])
    tallies = {
        way: {group: np.zeros(8) for group in ("all", "touching")} for way in WAYS
    }  # fair: hits, regions, particles; plain: the same; merged, split
    spent = dict.fromkeys(WAYS, 0.0)
    images = {"all": 0, "touching": 0}
    for i in tqdm(choose(examples, most, seed), unit="image", disable=None):
        truth = examples.labels[i]
        if np.count_nonzero(truth) < LEAST_PX:
            continue
        diameters = {
            int(p["label"]): float(p["diameter_nm"])
            for p in examples.about[i]["particles"]
            if p.get("diameter_nm")
        }
        maps = probabilities(by.logits(examples.images[i])[1])
        groups = ("all", "touching") if touch(truth) else ("all",)
        for group in groups:
            images[group] += 1
        for name, way in WAYS.items():
            started = time.perf_counter()
            found = way(maps, by.pixel_size_nm, by.segmentation)
            spent[name] += time.perf_counter() - started
            matching = match(found, truth, by.pixel_size_nm, diameters)
            counts = np.array([*matching.fair(), *matching.plain(), matching.merged, matching.split], float)
            for group in groups:
                tallies[name][group] += counts
    if not images["all"]:
        raise ModelError(f"{data} holds no image with particles in its {split} split")
    ways = {
        name: {
            **{group: _figures(tally) for group, tally in groups_of.items() if images[group]},
            "ms": 1e3 * spent[name] / images["all"],
        }
        for name, groups_of in tallies.items()
    }
    return {"split": split, "digest": examples.digest, "images": images, "ways": ways}


def _figures(tally: npt.NDArray[np.float64]) -> dict[str, float]:
    hits, found, true, *plain, merged, split = tally.tolist()
    return {
        "instance_f1": f1(hits, found, true),
        "instance_f1_plain": f1(*plain),
        "precision": hits / max(found, 1.0),
        "recall": hits / max(true, 1.0),
        "merged": merged,
        "split": split,
    }


def table_of(result: dict[str, Any]) -> Table:
    """A row a way."""
    columns = ("F1", "F1, plain", "merged", "split", "F1, touching", "precision", "recall", "ms an image")
    rows = []
    for name, row in result["ways"].items():
        every, touching = row["all"], row.get("touching", {})
        rows.append(
            (
                name,
                shown(every["instance_f1"], ".3f"),
                shown(every["instance_f1_plain"], ".3f"),
                f"{every['merged']:.0f}",
                f"{every['split']:.0f}",
                *(shown(touching.get(key), ".3f") for key in ("instance_f1", "precision", "recall")),
                f"{row['ms']:.2f}",
            )
        )
    images = result["images"]
    return Table(
        f"{images['all']} images ({images['touching']} touching), {result['split']}", columns, tuple(rows)
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    from models.evaluation.evaluate import judge_of

    parser = argparse.ArgumentParser(
        prog="python -m models.studies.separation", description="Ways of telling touching particles apart."
    )
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="a simulated data set")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="the model (the shipped one)")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--images", type=int, default=600, help="that are judged at the most (600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        by = judge_of(load_bundle(options.bundle, "cpu"))
        result = compare(by, options.data, options.split, options.images, options.seed)
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    print(json.dumps(result) if options.json else table_of(result).as_text())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
