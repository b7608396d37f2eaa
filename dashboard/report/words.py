"""Values as a report writes them: times, numbers, ranges, and a bundle's card."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from dashboard.report.facts import Facts
from dashboard.style import number, percent
from models.confusion import confusion_of
from models.results import CLASSES

__all__ = ["card", "duration", "interval", "moment", "number", "percent", "settings_of", "version_of_program"]


def moment(told: float | str | None) -> str:
    """A time [s since 1970 UTC], as a number or its text, in UTC."""
    try:
        at = math.nan if told is None else float(told)
    except ValueError:
        at = math.nan
    if not math.isfinite(at):
        return "—"
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):  # a camera's clock may say anything
        return f"{at:g} s since 1970"


def duration(seconds: float) -> str:
    """A length of time."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def interval(ends: tuple[float, float] | list[float] | None) -> str:
    """Both ends of an interval of shares."""
    return "—" if ends is None else f"{100 * ends[0]:.1f} to {percent(ends[1])}"


def version_of_program() -> str:
    """Of the installed program, or that it was run from its source."""
    try:
        return metadata.version("faultwatch")
    except metadata.PackageNotFoundError:
        return "from its source"


def settings_of(facts: Facts) -> list[tuple[str, str]]:
    """The session's settings by name, without those that were not given."""
    try:
        told = json.loads(facts.meta.get("settings", "{}"))
    except ValueError:
        return []
    if not isinstance(told, dict):
        return []
    return [
        (str(name).replace("_", " "), _said(value))
        for name, value in told.items()
        if value is not None and "secret" not in str(name) and not str(name).endswith("key")
    ]


def card(details: dict[str, Any]) -> list[tuple[str, str]]:
    """The main figures of a bundle's card, as far as its manifest has them."""
    rows: list[tuple[str, str]] = []
    for name in ("sensitivity", "specificity"):
        rate = _at(details, "rates", name)
        if isinstance(rate, list) and len(rate) == 2 and all(map(_is_number, rate)) and rate[1]:
            rows.append(
                (f"{name} among resolved particles", f"{rate[0] / rate[1]:.3f} ({rate[0]} of {rate[1]})")
            )
    figures = {
        "macro-F1 of the classes, held out": ("metrics", "held_out", "macro_f1"),
        "accuracy of the classes, held out": ("metrics", "held_out", "accuracy"),
        "calibration error of the classes, held out": ("metrics", "held_out", "calibration_error"),
        "regions held out": ("metrics", "held_out", "regions"),
        "regions the forest was trained on": ("forest", "regions"),
        "call is doubtful below a probability of": ("abstain_below",),
        "canonical sampling [nm/px]": ("preprocessing", "pixel_size_nm"),
    }
    for name, path in figures.items():
        value = _at(details, *path)
        if _is_number(value):
            rows.append((name, f"{value:,}" if isinstance(value, int) else f"{value:.4g}"))
    backends = _at(details, "metrics", "backends")
    for name, told in backends.items() if isinstance(backends, dict) else ():
        if _is_number(dice := _at(told, "dice")):
            rows.append((f"Dice of the masks, {name}", f"{dice:.3f}"))
    if isinstance(licence := details.get("licence"), str):
        rows.append(("licence", licence))
    return rows


def confusion_table(details: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Particles of each truth by call, of `no` and `yes` sure + doubtful; empty where the manifest has none."""
    told = confusion_of(details)
    if told is None:
        return []
    return [
        (
            truth,
            [
                f"{row[0]:.1f}",
                f"{row[1]:.1f}",
                f"{row[2]:.1f} + {row[3]:.1f}",
                f"{row[4]:.1f} + {row[5]:.1f}",
            ],
        )
        for truth, row in zip([*CLASSES, "unscored"], [*told.counts, told.unscored], strict=True)
    ]


def _at(told: Any, *path: str) -> Any:
    for name in path:
        told = told.get(name) if isinstance(told, dict) else None
    return told


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
