"""Whether a bundle's outlines hold where pictures are not as they should be: `python -m models.studies.robustness`.

The same images are judged as they are, with their pixel size given wrong, as viewers save them and cut to small
frames; what is found of particles is told by border, size and material; frames that hold nothing by every kind, and
half-dark ones by the kind of their step. Each figure stands beside the bar it is held against.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.bundle import Bundle, describe, load_bundle, torch_network
from models.errors import ModelError
from models.evaluation.evaluate import judge_of
from models.evaluation.false_area import Areas, areas_of, empty_areas
from models.evaluation.judge import Judge, choose, pooled, verdict
from models.evaluation.scores import match, pieces
from models.examples.augment import BORDERS, NEGATIVES, PATCHES, half_dark_frame
from models.examples.shards import Examples, examples_by_split
from models.examples.strata import NEAR_80, in_range, preset_of
from models.preprocess import canonical
from models.runtime import one_opencv_thread
from models.segment import Calibration, calibrated, probability_maps
from models.studies.robustness_tables import picture, tables_of
from models.training.calibrate import fit
from models.unet import architecture_of

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Truth = npt.NDArray[np.uint8]

TILE_NM = 11.0
"""Side of the small frames [nm]."""
HALF_DARK_PX = (256, 512)
"""Sides of the half-dark frames, turn by turn [px]."""
SIZES_NM = ((1.6, 2.0), (2.0, 3.0), (3.0, 5.0), (5.0, 100.0))


@dataclass(frozen=True)
class Shown:
    """A picture as it is judged."""

    image: npt.NDArray[Any]
    """(h, w)."""
    pixel_size_nm: float
    """As it is given."""
    window: tuple[slice, slice]
    """What of the image (H, W) it shows."""


def whole(image: Image) -> tuple[slice, slice]:
    """The window of all of an image."""
    return slice(0, image.shape[0]), slice(0, image.shape[1])


def sized(error: float) -> Callable[[Image, float], Shown]:
    """The pixel size is given too large by this share."""
    return lambda image, step: Shown(image, step * (1 + error), whole(image))


def median_filtered(image: Image, step: float) -> Shown:
    """The median of each 3 × 3 pixels."""
    return Shown(cv2.medianBlur(image, 3), step, whole(image))


def rescaled(factor: float, way: int) -> Callable[[Image, float], Shown]:
    """Brought to so many times as many pixels along each side, its pixel size given accordingly."""

    def change(image: Image, step: float) -> Shown:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        return Shown(cv2.resize(image, size, interpolation=way), step / factor, whole(image))

    return change


def of_8_bits(image: Image, step: float) -> Shown:
    """Greys from 0 to 255 between the thousandth that is darkest and the one that is brightest."""
    low, high = np.percentile(image, [0.1, 99.9])
    grey = np.clip((image - low) / max(float(high - low), 1e-9), 0, 1) * 255
    return Shown(np.round(grey).astype(np.uint8), step, whole(image))


def cut_out(image: Image, step: float) -> Shown:
    """The middle `TILE_NM` alone, with nothing beyond."""
    side = round(TILE_NM / step)
    row, col = ((n - side) // 2 if n > side else 0 for n in image.shape)
    window = (slice(row, row + side), slice(col, col + side))
    return Shown(np.ascontiguousarray(image[window]), step, window)


@dataclass(frozen=True)
class Change:
    """One thing that is done to pictures, and how little the result may move by it."""

    shown: Callable[[Image, float], Shown]
    bar: float


CHANGES: dict[str, Change] = {
    **{
        f"pixel size given {error:+.0%}": Change(sized(error), 0.02)
        for error in (-0.05, -0.04, -0.02, 0.02, 0.04, 0.05)
    },
    "median of 3 × 3": Change(median_filtered, 0.03),
    "enlarged 1.3 times, linear": Change(rescaled(1.3, cv2.INTER_LINEAR), 0.03),
    "reduced to 0.8, by area": Change(rescaled(0.8, cv2.INTER_AREA), 0.03),
    "8 bits": Change(of_8_bits, 0.03),
    "cut to 11 nm": Change(cut_out, 0.03),
}


def found_on(shown: Shown, by: Judge) -> Labels:
    """Regions (h, w) on the picture's own grid, by the whole way that a session goes."""
    prepared = canonical(shown.image, shown.pixel_size_nm, by.preprocessing)
    return prepared.to_frame(by.regions_of(probability_maps(prepared.image, by.network)))


def on_grid(found: Labels, shape: tuple[int, int]) -> Labels:
    """Regions on a grid of another size, each pixel from the nearest."""
    if found.shape == shape:
        return found
    return np.asarray(cv2.resize(found, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


@dataclass(frozen=True)
class Seen:
    """A true particle and whether it was found."""

    material: str
    diameter_nm: float
    cut: bool
    """By the border of the image."""
    judged: bool
    """By `models.evaluation.scores`: half of it at least is seen, and it reaches far enough in."""
    found: bool


def seen_in(found: Labels, truth: Truth, about: dict[str, Any], step: float) -> Iterator[Seen]:
    """Every true particle of an image (H, W) that counts."""
    particles = {int(p["label"]): p for p in about["particles"]}
    diameters = {n: float(p["diameter_nm"]) for n, p in particles.items() if p.get("diameter_nm")}
    matching = match(found, truth, step, diameters)
    parts, _ = pieces(truth)
    edge = set(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]).tolist())
    for n in matching.overlaps:
        label = matching.labels[n]
        if label in particles:
            yield Seen(
                str(particles[label].get("material")),
                diameters.get(label, 0.0),
                n in edge,
                n not in matching.hidden,
                n in matching.hits,
            )


def recall(seen: Iterable[Seen]) -> dict[str, Any]:
    """How many particles, and the share of them that was found; `None` of none."""
    found = [one.found for one in seen]
    return {"particles": len(found), "recall": float(np.mean(found)) if found else None}


def recalls(seen: Sequence[Seen]) -> dict[str, dict[str, Any]]:
    """Recall by border, size and material, of judged particles where nothing else is said."""
    judged = [one for one in seen if one.judged]
    rows = {
        "not cut by the border": recall(one for one in judged if not one.cut),
        "cut by the border, at least half seen": recall(one for one in judged if one.cut),
        "cut by the border, less than half seen": recall(one for one in seen if one.cut and not one.judged),
    }
    for low, high in SIZES_NM:
        name = f"{low:g} to {high:g} nm" if high < 100 else f"from {low:g} nm"
        here = [one for one in judged if low <= one.diameter_nm < high]
        rows[name] = recall(here)
        rows[f"CdSe, {name}"] = recall(one for one in here if one.material.startswith("CdSe"))
    for material in sorted({one.material for one in judged}):
        rows[material] = recall(one for one in judged if one.material == material)
    return rows


def plain_figures(by: Judge, data: Examples, chosen: Iterable[int]) -> tuple[dict[str, Any], list[Seen]]:
    """Figures of images as they are, and the particles in the range of the bars."""
    verdicts, seen = [], list[Seen]()
    for i in chosen:
        found = by.regions(data.images[i])
        verdicts.append(verdict(int(i), found, data.labels[i], data.about[i], by.pixel_size_nm))
        if in_range(data.about[i]):
            seen += seen_in(found, data.labels[i], data.about[i], by.pixel_size_nm)
    within = [v for v in verdicts if in_range(v.about)]

    def dose(v: Any) -> float:
        return float(v.about["conditions"]["dose_e_per_A2"])

    rows = {
        "range": pooled(within),
        "from 400 e/Å², carbon up to 5 nm": pooled(
            [v for v in within if dose(v) >= 400 and v.about["carbon_nm"] <= 5]
        ),
        "64 to 100 e/Å²": pooled([v for v in within if NEAR_80[0] <= dose(v) < NEAR_80[1]]),
        "CdSe alone": pooled([v for v in within if only_cdse(v.about)]),
    }
    for preset in sorted({preset_of(v.about) for v in verdicts}):
        rows[preset] = pooled([v for v in verdicts if preset_of(v.about) == preset])
    return rows, seen


def only_cdse(about: dict[str, Any]) -> bool:
    """Whether an image holds particles and all are CdSe."""
    materials = [str(p["material"]) for p in about["particles"]]
    return bool(materials) and all(material.startswith("CdSe") for material in materials)


def changed_figures(by: Judge, data: Examples, chosen: Iterable[int]) -> dict[str, dict[str, Any]]:
    """Of each of `CHANGES`: Dice of the changed pictures, and of the same windows of the pictures as they are.

    Dice are pooled over the images, against the truth, on the truth's own grid; and so is that of both results with
    each other.
    """
    sums = {name: np.zeros((2, 6)) for name in CHANGES}
    for i in chosen:
        image, truth = np.ascontiguousarray(data.images[i], dtype=np.float32), data.labels[i] > 0
        plain = by.regions(image) > 0
        of = [0, 1] if only_cdse(data.about[i]) else [0]
        for name, change in CHANGES.items():
            shown = change.shown(image, data.pixel_size_nm)
            true, before = truth[shown.window], plain[shown.window]
            after = on_grid(found_on(shown, by), true.shape) > 0
            sums[name][of] += [
                2 * (before & true).sum(), before.sum() + true.sum(),
                2 * (after & true).sum(), after.sum() + true.sum(),
                2 * (after & before).sum(), after.sum() + before.sum(),
            ]  # fmt: skip
    result = {}
    for name, totals in sums.items():
        shares = totals[:, ::2] / np.maximum(totals[:, 1::2], 1)
        result[name] = {
            "before": float(shares[0, 0]),
            "dice": float(shares[0, 1]),
            "agree": float(shares[0, 2]),
            "bar": CHANGES[name].bar,
            "cdse_before": float(shares[1, 0]) if totals[1, 1] else None,
            "cdse": float(shares[1, 1]) if totals[1, 1] else None,
        }
    return result


def half_dark_areas(bundle: Bundle, each: int, seed: int, patch: bool = False) -> dict[str, Areas]:
    """`models.evaluation.false_area.areas_of` half-dark frames, by the kind of their step.

    Parameters
    ----------
    patch : curved steps alone, that may leave a patch of a particle's size (`models.examples.augment.step_field`).
    """
    shares = {}
    for number, (name, border) in enumerate(BORDERS.items()):
        if patch and not border.curved:
            continue
        drawn = (
            half_dark_frame(
                HALF_DARK_PX[n % len(HALF_DARK_PX)],
                np.random.default_rng([9191 + seed, number, n]),
                border,
                patch,
            )
            for n in range(each)
        )
        shares[name] = areas_of(bundle, drawn)
    return shares


def patch_areas(bundle: Bundle, each: int, seed: int) -> dict[str, Areas]:
    """The same of frames of `PATCHES`, and of half-dark ones by the kind of their step.

    Nothing is taught by these, and no bar holds for them. Steps and edges were drawn so up to bundle `cdse-au-6`.
    """
    shares = {}
    for kind, make in PATCHES.items():
        number = list(NEGATIVES).index(kind)
        shares[kind] = areas_of(
            bundle, (make(256, np.random.default_rng([4242 + seed, number, n])) for n in range(each))
        )
    half_dark = half_dark_areas(bundle, each, seed, patch=True)
    return shares | {f"half-dark, {name}": share for name, share in half_dark.items()}


def study(bundle: Bundle, data: Examples, images: int, frames: int, seed: int) -> dict[str, Any]:
    """Every figure of the study.

    Parameters
    ----------
    images : of the particle presets that are judged; a quarter as many of each preset that holds no particle.
    frames : of each kind of frame that holds nothing.
    """
    from tqdm import tqdm

    with one_opencv_thread():
        chosen, by = choose(data, images, seed), judge_of(bundle)
        rows, seen = plain_figures(by, data, tqdm(chosen, unit="image", disable=None))
        within = [i for i in chosen if in_range(data.about[i])]
        changes = changed_figures(by, data, tqdm(within, unit="image", disable=None))
        return {
            "images": len(chosen),
            "in_range": len(within),
            "specimens": len({data.about[i]["specimen"] for i in chosen}),
            "seed": seed,
            "data": data.digest,
            "figures": rows,
            "changes": changes,
            "recall": recalls(seen),
            "false_area": empty_areas(bundle, data, chosen, frames, 4242 + seed),
            "half_dark": half_dark_areas(bundle, frames, seed),
            "patches": patch_areas(bundle, frames, seed),
        }


def with_weights(bundle: Bundle, weights: Path | None, validation: Examples, images: int) -> Bundle:
    """The bundle; or with other weights of its architecture, calibrated anew on the validation split, in torch."""
    if weights is None:
        return bundle
    network = torch_network(weights, architecture_of(bundle.details["unet"]), "cpu")
    raw = Judge(network, bundle.preprocessing, bundle.segmentation, Calibration())
    with one_opencv_thread():
        found = fit(raw, validation, choose(validation, images, 0))
    return replace(
        bundle,
        network=calibrated(network, found.calibration),
        segmentation=replace(bundle.segmentation, threshold=found.threshold),
        calibration=found.calibration,
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.robustness", description="How a bundle's outlines bear poor pictures."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="a simulated data set")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="gets robustness.json and .png"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="unet.safetensors there instead, calibrated anew"
    )
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--images", type=int, default=400, help="judged at the most (400)")
    parser.add_argument("--frames", type=int, default=24, help="of each kind that holds nothing (24)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        data = examples_by_split(options.data, [options.split])
        validation = examples_by_split(options.data, ["validation"]) if options.weights else data
        bundle = with_weights(load_bundle(options.bundle, "cpu"), options.weights, validation, options.images)
        result = study(bundle, data, options.images, options.frames, options.seed)
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    result |= {"bundle": describe(options.bundle)[0], "split": options.split}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "robustness.json").write_text(json.dumps(result, indent=1))
    picture(result).savefig(options.out / "robustness.png", dpi=90)
    tables = list(tables_of(result))
    (options.out / "robustness.md").write_text("\n\n".join(t.as_markdown() for t in tables) + "\n")
    print("\n\n".join(table.as_text() for table in tables))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
