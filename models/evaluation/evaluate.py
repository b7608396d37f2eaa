"""Scores of a bundle on simulated specimens that training never saw, and on real frames with masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.bundle import Bundle, describe, load_bundle
from models.confusion import confusion_of
from models.evaluation.chain import Chain
from models.evaluation.false_area import Left
from models.evaluation.judge import (
    Judge,
    Judgement,
    Labels,
    by_condition,
    by_particle,
    choose,
    false_areas,
    interval,
    judge,
    pooled,
)
from models.evaluation.null_scores import ENOUGH
from models.evaluation.real import judge_blank, judge_real
from models.evaluation.scores import Reliability
from models.evaluation.tables import as_text as as_text  # the command line imports both from here
from models.examples.real_frames import Reader, RealFrames, read_picture
from models.examples.shards import examples_by_split
from models.examples.strata import EMPTY_PRESETS, in_range, preset_of
from models.runtime import one_opencv_thread
from models.segment import Calibration, Image

#: Least (or, of errors, largest) figures that a bundle should have, by their place in the result.
BARS: tuple[tuple[str, float, bool], ...] = (
    ("Dice over the range", 0.92, True),
    ("Dice from 400 e/Å², carbon up to 5 nm", 0.95, True),
    ("Dice around 80 e/Å²", 0.88, True),
    ("instance F1 over the range", 0.90, True),
    ("calibration error over the range", 0.03, False),
    ("largest false area on negatives", 0.002, False),
    ("largest false area on negatives, not called empty", 0.002, False),
    ("macro-F1 of the whole chain over the range", 0.90, True),
    ("calibration error of the classes over the range", 0.03, False),
    ("largest calibration error of the classes in a stratum", 0.03, False),
    ("recall of null", 0.95, True),
    ("null called yes or no", 0.03, False),
    ("largest share of null called yes or no, of one specimen", 0.30, False),
)

OF_A_STRATUM = 200
"""Regions from which a stratum's calibration error is held against its bar: with fewer, chance alone exceeds it."""


def judge_of(bundle: Bundle) -> Judge:
    """A `Judge` with a bundle's network and settings."""
    return Judge(bundle.network, bundle.preprocessing, bundle.segmentation, bundle.calibration)


def evaluate(
    bundle: Path | None = None,
    data: Path | None = None,
    most: int = 1000,
    *,
    seed: int = 0,
    real: Sequence[RealFrames] = (),
    blank: Sequence[RealFrames] = (),
    read: Reader = read_picture,
    pictures: Path | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Scores of a bundle.

    Parameters
    ----------
    bundle : its folder; `None`: the shipped one.
    data : a data set, whose test split is judged; `None`: the scores that the bundle carries.
    most : judge so many images at the most, and a quarter as many of each preset that holds no particle.
    seed : which images are judged, the frames that hold nothing and the intervals follow from it.
    real : real frames with masks.
    blank : real frames that hold no particle.
    read : reads a real frame's file.
    pictures : a folder for pictures of the judged frames and of the figures.

    Raises
    ------
    BundleRefused, ModelError
        No such bundle, data set or frames.
    """
    bundle_id, details = describe(bundle)
    result: dict[str, Any] = {"bundle": bundle_id}
    if data is None:
        result |= {"source": "the bundle's own record", **details["metrics"], "rates": details["rates"]}
        if confusion_of(details) is not None:
            result["confusion"] = details["confusion"]
        if "metrics_of" in details:
            result["metrics_of"] = details["metrics_of"]
        if not real and not blank:
            return result
    with one_opencv_thread():
        loaded = load_bundle(bundle, device)
        result["backend"], by = loaded.backend, judge_of(loaded)
        if data is not None:
            result |= _on_data(loaded, data, most, seed, pictures)
        result["real"] = judge_real(by, real, read)
        result["blank"] = {str(frames.where): judge_blank(by, frames, read) for frames in blank}
        if pictures is not None and real:
            from models.evaluation.pictures import picture_real

            picture_real(pictures, by, real, read)
    return {key: value for key, value in result.items() if value != {}}


def _on_data(bundle: Bundle, data: Path, most: int, seed: int, pictures: Path | None) -> dict[str, Any]:
    """Everything that is measured on the test split of a data set."""
    from tqdm import tqdm

    held_out = examples_by_split(data, ["test"])
    chosen = choose(held_out, most, seed)
    by, chain, left = judge_of(bundle), Chain(bundle, held_out), Left(bundle)

    def each(index: int, image: Image, found: Labels) -> None:
        chain.add(index, image, found)
        if (preset := preset_of(held_out.about[index])) in EMPTY_PRESETS:
            left.add(f"preset {preset}", image, found)

    def look(kind: str, image: Image, found: Labels) -> None:
        chain.add_empty(image, found)
        left.add(kind, image, found)

    judgement = judge(by, held_out, tqdm(chosen, unit="image", disable=None), each)
    specimens = {held_out.about[i]["specimen"] for i in chosen}
    segmentation = figures_of(judgement, bundle.calibration, seed)
    areas = false_areas(by, seed=4242 + seed, look=look)
    presets = segmentation["by_condition"].get("preset", {})
    areas |= {f"preset {name}": presets[name]["false_area"] for name in EMPTY_PRESETS if name in presets}
    result = {
        "source": f"{len(chosen)} images of {len(specimens)} test specimens",
        "seed": seed,
        "data": {"digest": held_out.digest, "images": len(chosen), "specimens": len(specimens)},
        "segmentation": segmentation,
        "classification": (classified := chain.scores()),
        "false_area": areas,
        "false_area_left": left.areas(),
        "bars": _bars(segmentation, areas, left.areas(), classified),
    }
    if pictures is not None:
        from models.evaluation.chain import picture
        from models.evaluation.pictures import picture_data

        validated = bundle.details["metrics"].get("cross_validation")
        pictures.mkdir(parents=True, exist_ok=True)
        picture(validated, classified["range"]).savefig(pictures / "confusion.png", dpi=110)
        picture_data(pictures, by, held_out, judgement, segmentation)
    return result


def figures_of(judgement: Judgement, calibration: Calibration, seed: int) -> dict[str, Any]:
    """Segmentation figures, pooled and by condition.

    The pooled ones are over the images that may hold particles; `range` is what the bars are held against.
    """
    verdicts = judgement.verdicts
    tables = by_condition(verdicts)
    within = [v for v in verdicts if in_range(v.about)]
    figures: dict[str, Any] = {
        **tables["range"].get("every image that may hold particles", pooled([])),
        "range": pooled(within) | {"dice_interval": interval(within, seed)} if within else None,
        "instances": {
            "merged": sum(v.merged for v in verdicts),
            "split": sum(v.split for v in verdicts),
        },
        "by_condition": tables,
        "by_particle": by_particle(verdicts),
        "calibration": calibration.as_dict(),
        "pixel_calibration": {
            name: {"error": kept.error, "diagram": kept.diagram()}
            for name, kept in judgement.reliability.items()
        },
    }
    figures["pixel_calibration_error"] = judgement.reliability.get("all", Reliability()).error
    return figures


def _bars(
    segmentation: dict[str, Any],
    areas: dict[str, float],
    left: dict[str, float],
    classified: dict[str, Any],
) -> dict[str, dict[str, Any]]:
    """Every bar with its figure and whether it is met; `None` where no image tells."""
    rows = segmentation["by_condition"]["range"]
    good = rows.get("range of the bars, from 400 e/Å², carbon up to 5 nm", {})
    faint = rows.get("range of the bars, 64 to 100 e/Å²", {})
    within, ranged = segmentation["range"] or {}, classified["range"]
    strata = [
        f for rows in classified["strata"].values() for f in rows.values() if f["regions"] >= OF_A_STRATUM
    ]
    null = classified["null"]["all"] if classified["null"]["all"]["regions"] else None
    specimens = [told for told in classified["null"]["by_specimen"].values() if told["regions"] >= ENOUGH]
    values = (
        within.get("dice"),
        good.get("dice"),
        faint.get("dice"),
        within.get("instance_f1"),
        segmentation["pixel_calibration"].get("range", {}).get("error"),
        max(areas.values()),
        max(left.values()),
        ranged["macro_f1"] if ranged["regions"] else None,
        ranged["calibration_error"] if ranged["regions"] else None,
        max((figures["calibration_error"] for figures in strata), default=None),
        null and null["recall"],
        null and null["no"] + null["yes"],
        max((told["no"] + told["yes"] for told in specimens), default=None),
    )
    return {
        name: {
            "figure": value,
            "bar": bar,
            "met": None if value is None else bool(value >= bar if least else value <= bar),
        }
        for (name, bar, least), value in zip(BARS, values, strict=True)
    }
