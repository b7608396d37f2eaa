"""A network against labelled images: Dice, instances, false area, each by condition, and its calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.evaluation.scores import LEAST_PX, Reliability, f1, interval_of_pooled_dice, match
from models.examples.augment import NEGATIVES
from models.examples.shards import Examples
from models.examples.strata import EMPTY_PRESETS, SIZES, band, in_range, preset_of, row_order, strata
from models.preprocess import Preprocessing, standardise
from models.segment import Calibration, Image, Network, Segmentation, logit_maps, probabilities, regions

Labels = npt.NDArray[np.int32]
#: Called with the image's number in the data set, its standardised pixels and the regions found.
Each = Callable[[int, Image, Labels], None]


@dataclass(frozen=True)
class Judge:
    """A network with its preprocessing, calibration and segmentation settings: image in, regions out."""

    network: Network
    preprocessing: Preprocessing
    segmentation: Segmentation
    calibration: Calibration = field(default_factory=Calibration)
    """Part of the network already; it is undone to show what it changes."""

    @property
    def pixel_size_nm(self) -> float:
        """Canonical sampling [nm/px]."""
        return self.preprocessing.pixel_size_nm

    def prepare(self, counts: npt.NDArray[Any]) -> Image:
        """(H, W) counts at canonical sampling → standardised image (H, W)."""
        return standardise(np.asarray(counts, dtype=np.float32), self.preprocessing)

    def logits(self, counts: npt.NDArray[Any]) -> tuple[Image, Image]:
        """(H, W) counts at canonical sampling → standardised image (H, W) and logits (2, H, W)."""
        image = self.prepare(counts)
        return image, logit_maps(image, self.network)

    def regions(self, counts: npt.NDArray[Any]) -> Labels:
        """(H, W) counts at canonical sampling → (H, W) regions."""
        return self.regions_of(probabilities(self.logits(counts)[1]))

    def regions_of(self, maps: Image) -> Labels:
        """(2, H, W) probabilities → (H, W) regions."""
        return regions(maps, self.pixel_size_nm, self.segmentation)


@dataclass(frozen=True)
class Verdict:
    """One image's figures."""

    index: int
    """Its number in the data set."""
    about: dict[str, Any]
    overlap: float
    """2 |A ∩ B| [px]."""
    areas: float
    """|A| + |B| [px]."""
    true_area: float
    false_area: float
    """Marked where there is no particle, as a share of the image."""
    plain: tuple[int, int, int]
    """Instances: hits, regions, particles."""
    fair: tuple[int, int, int]
    merged: int
    split: int
    particles: tuple[tuple[str, float, float], ...]
    """Material, diameter [nm] and best intersection over union of every particle that is judged."""

    @property
    def dice(self) -> float:
        """The Dice coefficient of this image; 1 where it holds no particle and none was marked."""
        return self.overlap / self.areas if self.areas else 1.0

    @property
    def errors(self) -> int:
        """Judged instances that were missed, and false ones."""
        return self.fair[1] + self.fair[2] - 2 * self.fair[0]


@dataclass
class Judgement:
    """All verdicts, and the reliability of the probabilities."""

    verdicts: list[Verdict] = field(default_factory=list)
    reliability: dict[str, Reliability] = field(default_factory=dict)
    """`range` and `all` images, with `uncalibrated` after each name for the network's own logits."""


def judge(by: Judge, data: Examples, chosen: Iterable[int], each: Each | None = None) -> Judgement:
    """Judge the chosen images of a data set."""
    result = Judgement()
    for i in chosen:
        truth, about = data.labels[i], data.about[i]
        image, logits = by.logits(data.images[i])
        maps = probabilities(logits)
        found = by.regions_of(maps)
        result.verdicts.append(verdict(int(i), found, truth, about, by.pixel_size_nm))
        raw = maps[0] if by.calibration == Calibration() else probabilities(by.calibration.undone(logits))[0]
        names = ["all"] + (["range"] if in_range(about) else [])
        for name in names:
            result.reliability.setdefault(name, Reliability()).add(maps[0], truth > 0)
            result.reliability.setdefault(f"{name} uncalibrated", Reliability()).add(raw, truth > 0)
        if each is not None:
            each(int(i), image, found)
    return result


def verdict(
    index: int, found: Labels, truth: npt.NDArray[np.uint8], about: dict[str, Any], pixel_size_nm: float
) -> Verdict:
    """The figures of one image's regions (H, W) against its truth (H, W)."""
    particles = {int(p["label"]): p for p in about["particles"]}
    diameters = {n: float(p["diameter_nm"]) for n, p in particles.items() if p.get("diameter_nm")}
    matching = match(found, truth, pixel_size_nm, diameters)
    marked, inside = found > 0, truth > 0
    return Verdict(
        index=index,
        about=about,
        overlap=2.0 * int((marked & inside).sum()),
        areas=float(marked.sum() + inside.sum()),
        true_area=float(inside.sum()),
        false_area=float((marked & ~inside).mean()),
        plain=matching.plain(),
        fair=matching.fair(),
        merged=matching.merged,
        split=matching.split,
        particles=tuple(
            (str(particles[label].get("material")), diameters.get(label, 0.0), overlap)
            for n, overlap in matching.overlaps.items()
            if n not in matching.hidden and (label := matching.labels[n]) in particles
        ),
    )


def pooled(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """A row of a table: figures pooled over images; `None` where a figure is not defined for them."""
    overlap, areas = sum(v.overlap for v in verdicts), sum(v.areas for v in verdicts)
    holding = [v.dice for v in verdicts if v.true_area >= LEAST_PX]
    plain = [sum(v.plain[k] for v in verdicts) for k in range(3)]
    hits, found, true = (sum(v.fair[k] for v in verdicts) for k in range(3))
    return {
        "images": len(verdicts),
        "dice": overlap / areas if holding else None,
        "median_image_dice": float(np.median(holding)) if holding else None,
        "instance_f1": f1(hits, found, true) if true else None,
        "instance_precision": hits / found if true and found else None,
        "instance_recall": hits / true if true else None,
        "instance_f1_plain": f1(*plain) if plain[2] else None,
        "false_area": float(np.mean([v.false_area for v in verdicts])) if verdicts else None,
    }


def by_condition(verdicts: Sequence[Verdict]) -> dict[str, dict[str, dict[str, Any]]]:
    """{table: {row: figures}} over the strata of `models.examples.strata`."""
    members: dict[str, dict[str, list[Verdict]]] = {}
    for v in verdicts:
        for table, row in strata(v.about):
            members.setdefault(table, {}).setdefault(row, []).append(v)
    return {
        table: {row: pooled(members[table][row]) for row in sorted(members[table], key=row_order)}
        for table in members
    }


def by_particle(verdicts: Sequence[Verdict]) -> dict[str, dict[str, dict[str, Any]]]:
    """{table: {row: figures}} over judged particles, by size and by material.

    A region that is on no particle has neither size nor material, so these tables know recall alone.
    """
    members: dict[str, dict[str, list[float]]] = {"size": {}, "material": {}}
    for v in verdicts:
        for material, diameter, overlap in v.particles:
            if (size := band(diameter, SIZES, "nm")) is not None and diameter > 0:
                members["size"].setdefault(size, []).append(overlap)
            members["material"].setdefault(material, []).append(overlap)
    return {
        table: {
            row: {
                "particles": len(rows[row]),
                "recall": float(np.mean(np.array(rows[row]) >= 0.5)),
                "median_overlap": float(np.median(rows[row])),
            }
            for row in sorted(rows, key=row_order)
        }
        for table, rows in members.items()
    }


def interval(verdicts: Sequence[Verdict], seed: int) -> tuple[float, float]:
    """95 % interval of the pooled Dice, over specimens."""
    return interval_of_pooled_dice(
        np.array([v.overlap for v in verdicts]),
        np.array([v.areas for v in verdicts]),
        np.array([v.about["specimen"] for v in verdicts]),
        seed,
    )


def choose(data: Examples, most: int, seed: int) -> npt.NDArray[np.int64]:
    """Which images to judge: `most` of the particle presets, and a quarter as many of each preset without particles.

    Drawn from the seed without replacement, in the data set's order.
    """
    rng = np.random.default_rng([seed, 77])
    presets = np.array([preset_of(about) for about in data.about])
    groups = [(~np.isin(presets, EMPTY_PRESETS), most)]
    groups += [(presets == name, -(-most // 4)) for name in EMPTY_PRESETS]
    chosen = []
    for members, share in groups:
        there = np.flatnonzero(members)
        chosen.append(rng.permutation(there)[:share])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def false_areas(
    by: Judge,
    each: int = 40,
    seed: int = 4242,
    size: int = 256,
    look: Callable[[str, Image, Labels], None] | None = None,
) -> dict[str, float]:
    """Share of the area that is marked on frames that hold nothing, by kind; the seed is not training's.

    `look` is called with the kind, every standardised frame (H, W) and the regions (H, W) found on it.
    """
    shares = {}
    for number, (kind, make) in enumerate(NEGATIVES.items()):
        marked = []
        for n in range(each):
            image, logits = by.logits(make(size, np.random.default_rng([seed, number, n])))
            found = by.regions_of(probabilities(logits))
            marked.append((found > 0).mean())
            if look is not None:
                look(kind, image, found)
        shares[kind] = float(np.mean(marked))
    return shares
