"""The whole chain's classification: regions as the network finds them, named by the forest, against the truth.

Beside the regions that can be scored it counts the misses (true particles that no region covers) and the false regions
(on no particle), whatever class these are given.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.bundle import Bundle
from models.evaluation.class_scores import by_stratum, scores
from models.evaluation.judge import Labels
from models.evaluation.null_scores import null_scores, zone_of
from models.examples.rows import COVERS, truth_of_regions
from models.examples.shards import Examples
from models.examples.strata import DOSES, SIZES, band, in_conditions
from models.features.measure import measure
from models.forest import as_rows
from models.results import CLASSES
from models.segment import Image

EMPTY = CLASSES.index("empty")
STRATA = ("dose", "microscope", "diameter")
"""Of a `Sighting`: by what figures are told apart."""


@dataclass(frozen=True)
class Sighting:
    """What is true of a region beside its class, and of the image that it lies in; nothing of a frame of nothing."""

    true_class: int
    """Index into `CLASSES`."""
    within: bool
    """Whether the image counts for the bars (`models.examples.strata.in_conditions`)."""
    dose: str = ""
    """Its band, as the others below."""
    microscope: str = ""
    diameter: str = ""
    zone: str = ""
    specimen: str = ""


@dataclass
class Chain:
    """Collects regions and misses, image by image."""

    bundle: Bundle
    data: Examples
    _seen: list[Sighting] = field(default_factory=list)
    _rows: list[npt.NDArray[np.float32]] = field(default_factory=list)
    _missed: Counter[str] = field(default_factory=Counter)
    _missed_within: Counter[str] = field(default_factory=Counter)

    def add(self, index: int, image: Image, found: Labels) -> None:
        """Classify an image's regions (H, W) that can be scored, and count the particles that none of them covers."""
        about, truth = self.data.about[index], self.data.labels[index]
        within = in_conditions(about)
        missed = missed_particles(found, truth, about["particles"])
        self._missed.update(missed)
        if within:
            self._missed_within.update(missed)
        conditions = about["conditions"]
        dose = band(float(conditions["dose_e_per_A2"]), DOSES, "e/Å²") or "other"
        zone = {int(p["label"]): zone_of(p) for p in about["particles"]}
        step, areas = self.bundle.preprocessing.pixel_size_nm, np.bincount(found.ravel())
        scored = [
            (
                region,
                Sighting(
                    CLASSES.index(name),
                    within,
                    dose,
                    str(conditions["microscope"]),
                    band(float(2 * np.sqrt(areas[region] / np.pi) * step), SIZES, "nm") or "other",
                    zone.get(label, ""),
                    str(about["specimen"]),
                ),
            )
            for region, name, label in truth_of_regions(found, truth, about["particles"])
        ]
        self._classify(image, found, scored)

    def add_empty(self, image: Image, found: Labels) -> None:
        """Classify all regions (H, W) of a frame that holds nothing."""
        count = int(found.max(initial=0))
        self._classify(image, found, [(region, Sighting(EMPTY, True)) for region in range(1, count + 1)])

    def _classify(self, image: Image, found: Labels, scored: list[tuple[int, Sighting]]) -> None:
        if not scored:
            return
        measured = measure(image, found, self.bundle.preprocessing.pixel_size_nm)
        rows = as_rows([measured[region - 1].values for region, _ in scored], self.bundle.feature_names)
        self._rows.append(self.bundle.forest(rows))
        self._seen += [told for _, told in scored]

    def judged(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.str_]]:
        """True classes (R,), probabilities (R, 4) and specimens (R,) of all regions so far."""
        truths = np.array([one.true_class for one in self._seen], dtype=np.int64)
        p = np.concatenate([np.zeros((0, len(CLASSES)), np.float32), *self._rows])
        return truths, p, np.array([one.specimen for one in self._seen], dtype=np.str_)

    def scores(self) -> dict[str, Any]:
        """Figures of everything, `range` those of `models.examples.strata.in_conditions`, `strata`
        (`models.evaluation.class_scores.by_stratum`), and `null`: what becomes of `null` particles
        (`models.evaluation.null_scores`)."""
        truths, p, specimens = self.judged()
        within = np.array([one.within for one in self._seen], dtype=bool)
        strata = {what: by_stratum(truths, p, [getattr(one, what) for one in self._seen]) for what in STRATA}
        return {
            **scored_with_misses(truths, p, self._missed),
            "range": scored_with_misses(truths[within], p[within], self._missed_within),
            "strata": strata,
            "null": null_scores(truths, p, [one.zone for one in self._seen], specimens.tolist()),
        }


def missed_particles(
    found: Labels, truth: npt.NDArray[np.uint8], particles: list[dict[str, Any]]
) -> list[str]:
    """The classes of whole, scored particles in (H, W) that no region covers (`models.examples.rows.COVERS`)."""
    missed = []
    areas = np.bincount(found.ravel())
    for particle in particles:
        if not (particle["whole"] and particle["class"]):
            continue
        mask = truth == particle["label"]
        size = int(mask.sum())
        overlap = np.bincount(found[mask], minlength=len(areas))
        unions = size + areas - overlap
        if size and not (overlap[1:] >= COVERS * unions[1:]).any():
            missed.append(str(particle["class"]))
    return missed


def scored_with_misses(
    truths: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating], missed: Counter[str]
) -> dict[str, Any]:
    """`models.evaluation.class_scores.scores`, with the misses of every class and the macro-F1 that counts
    them as errors."""
    figures = scores(truths, probabilities)
    lost = np.array([missed[name] for name in CLASSES])
    matrix = np.array(figures["confusion"])
    hit, called = np.diag(matrix), matrix.sum(axis=0)
    f1 = 2 * hit / np.maximum(matrix.sum(axis=1) + lost + called, 1)
    return {
        **figures,
        "missed": {name: int(n) for name, n in zip(CLASSES, lost, strict=True) if name != "empty"},
        "macro_f1_with_misses": float(f1.mean()),
    }


def picture(validated: dict[str, Any] | None, chain: dict[str, Any]) -> Figure:
    """The cross-validation's confusion matrix, where the bundle has one, beside the whole chain's."""
    count = 1 if validated is None else 2
    figure = Figure(figsize=(6.2 * count, 5.2), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    if validated is not None:
        folds = validated.get("fold_macro_f1")
        spread = f", folds {min(folds):.3f} to {max(folds):.3f}" if folds else ""
        title = f"cross-validation by specimen: macro-F1 {validated['macro_f1']:.3f}{spread}"
        _draw(panels[0], np.array(validated["confusion"]), None, title)
    title = f"whole chain, unseen specimens: macro-F1 {chain['macro_f1']:.3f}"
    missed = np.array([chain["missed"].get(name, 0) for name in CLASSES])
    _draw(panels[-1], np.array(chain["confusion"]), missed, title)
    return figure


def _draw(
    axes: Axes, matrix: npt.NDArray[np.int64], missed: npt.NDArray[np.int64] | None, title: str
) -> None:
    """A confusion matrix (4, 4), rows by truth, each cell with its share of the row; misses as a fifth column."""
    names: list[str] = list(CLASSES)
    if missed is not None:
        matrix = np.column_stack([matrix, missed])
        names.append("no region")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(CLASSES)), ["no particle" if name == "empty" else name for name in CLASSES])
    axes.set(xlabel="called", ylabel="true")
    axes.set_title(title, fontsize=10)
    for (i, j), share in np.ndenumerate(shares):
        ink = "white" if share > 0.5 else "black"
        axes.text(j, i, f"{share:.2f}\n{matrix[i, j]}", ha="center", va="center", color=ink, fontsize=9)
