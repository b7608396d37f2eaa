"""Refit a bundle's forest with an operator's corrections; read top to bottom.

The forest learns again from the rows that its training kept beside the bundle and from the corrected regions, which
weigh more: they are few, but they are of the microscope in use. What comes out is a new version of the bundle, and a
comparison of old and new on simulated specimens that neither learnt from, and on corrected regions, each judged by a
forest that has not learnt from its part of the session.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.bundle import describe
from models.errors import BundleRefused, ModelError
from models.evaluation.class_scores import confusion, rates, rates_by_condition, scores
from models.examples.corrections import Corrections
from models.examples.rows import COLUMNS, Rows, joined, load_rows, rows_file, save_rows
from models.forest import importances, load_forest, sharpened, votes_of
from models.results import CLASSES
from models.training.derive import derive
from models.training.forest_file import BOOSTING, EMPTY_WEIGHS, NULL_WEIGHS, Grower, save_forest

if TYPE_CHECKING:
    from models.forest import Classifier

WEIGHT = 10.0
"""A corrected region counts as so many of the training's."""
LARGEST_SHARE = 0.5
"""All corrected regions together weigh at most this share of the training's rows."""
PARTS = 3
"""Parts of the session that are left out one at a time."""
TREES_OF_A_PART = 40
"""Trees of the forests that judge a part left out: enough to compare by, and quick."""
STEPS = 5
"""Of a refit."""
CORRECTED = "corrected/"
"""What the specimens of corrected rows begin with, so that the next refit knows them."""
FEW = 0.5
"""Below this share of the old one's mistakes the new one mends little."""
SAME_F1 = 0.005
"""Differences of macro-F1 below this are called none."""
FORGOTTEN = 0.02
"""A loss of macro-F1 on held-out specimens from which the new forest has forgotten something."""


@dataclass(frozen=True)
class Refitted:
    """The result of a refit."""

    bundle: Path
    comparison: dict[str, Any]
    """`old` and `new`: `held_out` (`models.evaluation.class_scores.scores`) and `corrected`: how many of the
    corrected regions are
    called what the operator says, of `regions`; of these `wrong` were called something else by the old one. `None` of
    the new one where there is no part of the session that it could be judged on."""
    verdict: str
    """A sentence for the operator: what changed."""


def refit(
    bundle: Path,
    corrections: Corrections,
    out: Path,
    *,
    threads: int = 1,
    step: Callable[[int, int, str], None] = lambda done, of, what: None,
) -> Refitted:
    """Refit and compare; the new bundle stands in `out` with its rows beside it, the old one stays as it is.

    Parameters
    ----------
    threads : that grow trees; the forest is the same with any number.
    step : told how many steps of how many are done, and what comes next.

    Raises
    ------
    BundleRefused
        The parent is refused, its training rows are missing or damaged, or there is something at `out` already.
    ModelError
        There are no corrections, or they lack features that the forest looks at.
    """
    if out.exists() or rows_file(out).exists():
        raise BundleRefused(f"{out} is there already; a bundle is never overwritten")
    step(0, STEPS, "reading the rows of the training")
    parent, details = describe(bundle)
    learn, check = _kept_rows(bundle, details["features"])
    added = _as_rows(corrections, learn)
    forests = Forests.of(details, threads)
    step(1, STEPS, "growing the forest")
    together = joined([learn, added])
    old, new = load_forest(bundle / "forest.skops"), forests.grown(together)
    step(2, STEPS, "judging specimens that were held out")
    held_out = {name: forests.probabilities(by, check) for name, by in (("old", old), ("new", new))}
    step(3, STEPS, "comparing the forests on what was corrected")
    comparison = _compare(old, forests, learn, added)
    for name, probabilities in held_out.items():
        comparison[name]["held_out"] = scores(check.classes, probabilities) if len(check.classes) else None
    verdict = verdict_of(comparison)
    provenance = {
        "rows": hashlib.sha256(rows_file(bundle).read_bytes()).hexdigest(),
        **_learnt(corrections, added, details["sha256"]["forest.skops"]),
        "comparison": comparison,
        "verdict": verdict,
    }
    figures = forests.figures(new, together)
    figures |= _errors(check, held_out["new"])
    step(4, STEPS, "writing the bundle")
    with TemporaryDirectory() as working:
        save_forest(new, Path(working))
        derive(bundle, out, forest=Path(working), figures=figures, provenance=provenance)
    save_rows(rows_file(out), together, check)
    step(STEPS, STEPS, "done")
    return Refitted(out, comparison, f"{describe(out)[0]}, from {parent}: {verdict}")


@dataclass(frozen=True)
class Forests:
    """Grows forests alike: of the kind, with the trees, the sharpening and the weights of the classes of one bundle."""

    grower: Grower
    sharpening: float
    null_weighs: float
    empty_weighs: float
    threads: int

    @classmethod
    def of(cls, details: dict[str, Any], threads: int) -> Forests:
        """Those of a bundle's manifest; what an older one does not say weighs what it did then."""
        told = details["forest"]
        return cls(
            grower=Grower.of(told),
            sharpening=float(details["sharpening"]),
            null_weighs=float(told.get("null_weighs", NULL_WEIGHS)),
            empty_weighs=float(told.get("empty_weighs", EMPTY_WEIGHS)),
            threads=threads,
        )

    def grown(self, rows: Rows, trees: int | None = None) -> Classifier:
        """A forest fitted to rows, corrected ones with their weight; `trees`: the bundle's if not given."""
        grower = self.grower if trees is None else self.grower.smaller(trees)
        forest = grower.new(self.null_weighs, self.empty_weighs)
        threads = {} if grower.kind == BOOSTING else {"n_jobs": self.threads}
        forest.set_params(**threads).fit(rows.features, rows.classes, _weights(rows))
        return forest.set_params(**dict.fromkeys(threads, 1))

    def probabilities(self, forest: Classifier, rows: Rows) -> npt.NDArray[np.float64]:
        """(R, 4) sharpened probabilities of a forest."""
        return sharpened(votes_of(forest, rows.features), self.sharpening)

    def figures(self, forest: Classifier, rows: Rows) -> dict[str, Any]:
        """What a bundle's manifest says of a forest that was fitted to rows."""
        importance = dict(zip(rows.names, importances(forest).tolist(), strict=True))
        told = {
            **self.grower.as_dict(),
            "null_weighs": self.null_weighs,
            "empty_weighs": self.empty_weighs,
        }
        return {"forest": {**told, "regions": len(rows.classes), "importance": importance}}


def _learnt(corrections: Corrections, added: Rows, parent: str) -> dict[str, Any]:
    """What a bundle's manifest says of the corrections that its forest learnt from."""
    return {
        "made_by": "refitting with corrections",
        "parent_forest": parent,
        "corrections": corrections.source,
        "corrected": {name: int((added.classes == i).sum()) for i, name in enumerate(CLASSES)},
        "weight": WEIGHT,
        "largest_share": LARGEST_SHARE,
    }


def _errors(check: Rows, probabilities: npt.NDArray[np.float64]) -> dict[str, Any]:
    """What a bundle's manifest says of how often its forest errs; nothing where there is nothing to tell it by."""
    if not len(check.classes):
        return {}
    return {
        "confusion": confusion(check, probabilities),
        "rates": rates(check, probabilities),
        "rates_by_condition": rates_by_condition(check, probabilities),
    }


def _compare(old: Classifier, forests: Forests, learn: Rows, added: Rows) -> dict[str, Any]:
    """How many of the corrected regions the old forest calls rightly, and forests that did not learn from them."""
    after = np.zeros((len(added.classes), len(CLASSES)))
    parts = _parts(added.specimen)
    for part in parts:
        forest = forests.grown(joined([learn, added.of(~part)]), TREES_OF_A_PART)
        after[part] = votes_of(forest, added.features[part])
    before = votes_of(old, added.features).argmax(axis=1)
    right = int((after.argmax(axis=1) == added.classes).sum()) if parts else None
    return {
        "old": {"corrected": int((before == added.classes).sum())},
        "new": {"corrected": right},
        "regions": len(added.classes),
        "wrong": int((before != added.classes).sum()),
    }


def _kept_rows(bundle: Path, names: list[str]) -> tuple[Rows, Rows]:
    path = rows_file(bundle)
    if not path.is_file():
        raise BundleRefused(
            f"{bundle} can't be refitted: its training rows are not beside it ({path.name}); they are made by: "
            "faultwatch train forest"
        )
    try:
        learn, check = load_rows(path)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise BundleRefused(f"{path} is damaged: {error}") from error
    if learn.names != names:
        raise BundleRefused(f"{path} holds other features than the forest of {bundle} looks at")
    return learn, check


def _as_rows(corrections: Corrections, like: Rows) -> Rows:
    """The corrections as training rows with the same columns."""
    count = len(corrections.classes)
    if count == 0:
        raise ModelError(f"{corrections.source} holds no correction to learn from")
    lacking = [name for name in like.names if name not in corrections.names]
    if lacking:
        raise ModelError(
            f"the particles of {corrections.source} were measured without {', '.join(lacking)}; "
            "analyse them again with this version (faultwatch replay)"
        )
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        columns[name] = np.zeros(count, getattr(like, name).dtype)
    order = [corrections.names.index(name) for name in like.names]
    columns["features"] = np.nan_to_num(corrections.features[:, order], nan=0.0, posinf=0.0, neginf=0.0)
    columns["classes"] = corrections.classes
    columns["specimen"] = np.array(
        [f"{CORRECTED}{corrections.source}/{group}" for group in corrections.groups]
    )
    columns["particle"] = np.array([f"{name}/{n}" for n, name in enumerate(columns["specimen"])])
    return Rows(**columns, names=like.names)


def _weights(rows: Rows) -> npt.NDArray[np.float64]:
    """(R,) 1 for a simulated region, more for a corrected one, also for those of earlier refits."""
    corrected = np.char.startswith(rows.specimen, CORRECTED)
    count = int(corrected.sum())
    most = LARGEST_SHARE * (len(corrected) - count) / max(1, count)
    return np.where(corrected, min(WEIGHT, most), 1.0)


def _parts(groups: npt.NDArray[np.str_]) -> list[npt.NDArray[np.bool_]]:
    """Stretches of the session, to be left out one at a time; none where there is but one group.

    What is seen one after the other may be the same particle, so the stretches are whole.
    """
    _, first = np.unique(groups, return_index=True)
    ordered = groups[np.sort(first)]
    if len(ordered) < 2:
        return []
    return [np.isin(groups, part) for part in np.array_split(ordered, min(PARTS, len(ordered)))]


def verdict_of(comparison: dict[str, Any]) -> str:
    """What changed, in a sentence: on the corrected regions first, by what was forgotten second."""
    old, new, count, wrong = comparison["old"], comparison["new"], comparison["regions"], comparison["wrong"]
    told = []
    if new["corrected"] is None:
        first = (
            "Whether the new forest is better on your frames can't be told: all corrections are of one frame"
        )
        told.append(f"the old one is right on {old['corrected']} of the {count} corrected particles")
    else:
        better = new["corrected"] - old["corrected"]
        if better < 0:
            first = "The old forest is better on your frames: keep it"
        elif better == 0:
            first = "Neither forest is better on your frames"
        elif better < FEW * wrong:
            first = "The new forest mends little of what was corrected"
        else:
            first = "The new forest mends much of what was corrected"
        told.append(
            f"of {count} corrected particles it is right on {new['corrected']} when it has not learnt from that "
            f"part of the session, the old one on {old['corrected']}"
        )
        if wrong == count:
            told.append("only mistakes were corrected, so what else it changes on your frames is not known")
    if old["held_out"] is not None and new["held_out"] is not None:
        before, after = old["held_out"], new["held_out"]
        change = after["macro_f1"] - before["macro_f1"]
        if change < -FORGOTTEN:
            first += ", but it is worse on simulated specimens"
        said = "as before" if abs(change) < SAME_F1 else f"{before['macro_f1']:.3f} before"
        told.append(
            f"on {after['regions']} regions of specimens held out macro-F1 is {after['macro_f1']:.3f}, {said}, and "
            f"the recall of yes {after['recall']['yes']:.2f}, {before['recall']['yes']:.2f} before"
        )
    return f"{first}; {'; '.join(told)}."
