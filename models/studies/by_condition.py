"""Recall of every class by condition: dose, carbon, size, tilt, depth of the fault, defocus, and more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from models.results import CLASSES
from models.studies.crops import Crops

Probabilities = npt.NDArray[np.float64]


def conditions_of(crops: Crops) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """(condition, stratum, rows) of every table."""
    about = crops.about

    def number(of: Callable[[dict[str, Any]], float | None]) -> npt.NDArray[np.float64]:
        return np.array([np.nan if (v := of(a)) is None else float(v) for a in about])

    def particle(key: str) -> Callable[[dict[str, Any]], float | None]:
        return lambda a: a["particle"].get(key) if a["particle"] else None

    def depth(a: dict[str, Any]) -> float | None:
        faults = (a["particle"] or {}).get("faults", [])
        return max((f["depth_layers"] for f in faults), default=None)

    tables: list[tuple[str, npt.NDArray[np.float64], tuple[float, ...]]] = [
        (
            "dose [e/Å²]",
            number(lambda a: a["conditions"]["dose_e_per_A2"]),
            (20, 60, 120, 250, 500, 1000, inf),
        ),
        ("carbon [nm]", number(lambda a: a["carbon_nm"]), (0, 2, 4, 6, 8, inf)),
        ("diameter [nm]", number(particle("diameter_nm")), (2, 2.5, 3, 4, 5, 7, inf)),
        ("tilt off the zone [°]", number(particle("zone_tilt_deg")), (0, 2, 4, 6, 10, 90)),
        ("depth of the fault [layers]", number(depth), (0, 1, 2, 3, 4, 6, 9, inf)),
        (
            "defocus, absolute [nm]",
            np.abs(number(lambda a: a["conditions"]["defocus_nm"])),
            (0, 5, 10, 20, 50, inf),
        ),
        ("distance to the next region [nm]", number(lambda a: a["gap_nm"]), (0, 0.2, 1, 2, inf)),
        ("signal to noise of a layer's fringe", number(particle("snr")), (1.5, 3, 5, 8, 12, 20, inf)),
    ]
    for name, values, edges in tables:
        for low, high in pairwise(edges):
            stratum = f"{low:g} to {high:g}" if high < inf else f"from {low:g}"
            yield name, stratum, (values >= low) & (values < high)
    for name, of in (
        ("microscope", lambda a: a["conditions"]["microscope"]),
        ("material", lambda a: (a["particle"] or {}).get("material")),
        ("kind of the fault", _only_kind),
    ):
        labels = np.array([str(of(a)) for a in about])
        for label in np.unique(labels):
            if label != "None":
                yield name, str(label), labels == label


def _only_kind(about: dict[str, Any]) -> str | None:
    kinds = {f["kind"] for f in (about["particle"] or {}).get("faults", [])}
    return kinds.pop() if len(kinds) == 1 else "several" if kinds else None


def by_condition(crops: Crops, probabilities: Probabilities) -> dict[str, dict[str, Any]]:
    """Recall of `yes`, `no` and `null`, and how many of each there are, by condition and stratum."""
    called = probabilities.argmax(axis=1)
    result: dict[str, dict[str, Any]] = {}
    for condition, stratum, rows in conditions_of(crops):
        figures: dict[str, Any] = {}
        for name in ("yes", "no", "null"):
            here = rows & (crops.classes == CLASSES.index(name))
            right = int((called[here] == CLASSES.index(name)).sum())
            figures[name] = {"regions": int(here.sum()), "right": right}
        if any(f["regions"] for f in figures.values()):
            result.setdefault(condition, {})[stratum] = figures
    return result
