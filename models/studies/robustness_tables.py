"""The tables and the picture of `models.studies.robustness`, each figure beside its bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.evaluation.tables import Table, shown

EMPTY_BAR = 0.002
SOOT_BAR = 0.005
BORDER_BAR = 0.03
"""So much less may be found of particles that are cut by the border than of others."""
WAYS = ("marked", "named", "analysed")
"""Of `models.evaluation.false_area.Areas`."""
#: Least recall of particles, by the row of the table.
RECALL_BARS = {"CdSe, 2 to 3 nm": 0.80, "1.6 to 2 nm": 0.55}
#: (row, figure, least value) of images as they are.
BARS = (
    ("range", "dice", 0.92),
    ("from 400 e/Å², carbon up to 5 nm", "dice", 0.95),
    ("64 to 100 e/Å²", "dice", 0.88),
    ("range", "instance_f1", 0.90),
)


def said(figure: float | None, bar: float, least: bool = True) -> tuple[str, str]:
    """The bar, and whether it is met."""
    told = "≥" if least else "≤"
    if figure is None:
        return f"{told} {bar:g}", "not measured"
    return f"{told} {bar:g}", "met" if (figure >= bar if least else figure <= bar) else "NOT met"


def tables_of(result: dict[str, Any]) -> Iterator[Table]:
    """Every table of a study."""
    yield _plain(result["figures"])
    yield _changes(result["changes"])
    yield _recalls(result["recall"])
    yield _empty("frames that hold nothing", result["false_area"])
    yield _empty("half-dark frames, by the kind of the step", result["half_dark"])
    yield _patches("frames whose edges may leave a patch of a particle's size", result["patches"])


def _plain(figures: dict[str, dict[str, Any]]) -> Table:
    bars = {(row, key): bar for row, key, bar in BARS}
    rows = []
    for name, row in figures.items():
        if row["dice"] is None:
            continue
        cells = [name, str(row["images"])]
        for key in ("dice", "instance_f1"):
            bar = bars.get((name, key))
            cells += [shown(row[key], ".3f"), " ".join(said(row[key], bar)) if bar else ""]
        rows.append(tuple(cells))
    return Table("images as they are", ("images", "Dice", "bar", "instance F1", "bar"), tuple(rows))


def _changes(changes: dict[str, dict[str, Any]]) -> Table:
    rows = []
    for name, f in changes.items():
        moved = f["dice"] - f["before"]
        cdse = None if f["cdse"] is None else f["cdse"] - f["cdse_before"]
        worst = max(abs(moved), abs(cdse or 0.0))
        rows.append(
            (
                name,
                f"{f['before']:.3f}",
                f"{f['dice']:.3f}",
                f"{moved:+.3f}",
                shown(f["cdse_before"], ".3f"),
                shown(f["cdse"], ".3f"),
                shown(cdse, "+.3f"),
                f"{f['agree']:.3f}",
                *said(worst, f["bar"], least=False),
            )
        )
    headings = (
        "Dice as it is", "changed", "moved by", "CdSe as it is", "changed", "moved by", "both results", "bar", "",
    )  # fmt: skip
    return Table("the same pictures", headings, tuple(rows))


def _recalls(recalls: dict[str, dict[str, Any]]) -> Table:
    others = recalls["not cut by the border"]["recall"]
    bars = dict(RECALL_BARS)
    if others is not None:
        bars["cut by the border, at least half seen"] = round(others - BORDER_BAR, 3)
    rows = tuple(
        (
            name,
            str(row["particles"]),
            shown(row["recall"], ".3f"),
            *(said(row["recall"], bars[name]) if name in bars else ("", "")),
        )
        for name, row in recalls.items()
        if row["particles"]
    )
    return Table("particles, range of the bars", ("particles", "found", "bar", ""), rows)


def _empty(title: str, areas: dict[str, dict[str, float]]) -> Table:
    """What the network marks, what the forest leaves of it, and what is left in a session: this has the bar."""
    rows = []
    for kind, share in areas.items():
        bar = SOOT_BAR if kind == "preset soot" else EMPTY_BAR
        met = (said(share[way], bar, least=False)[1] for way in WAYS)
        told = (
            cell for pair in zip((f"{share[way]:.3%}" for way in WAYS), met, strict=True) for cell in pair
        )
        rows.append((kind, f"≤ {bar:.1%}", *told))
    headings = ("bar", "marked by the network", "", "not called `empty`", "", "in the result", "")
    return Table(title, headings, tuple(rows))


def _patches(title: str, areas: dict[str, dict[str, float]]) -> Table:
    """The same where no bar holds."""
    rows = tuple((kind, *(f"{share[way]:.3%}" for way in WAYS)) for kind, share in areas.items())
    return Table(title, ("marked by the network", "not called `empty`", "in the result"), rows)


def picture(result: dict[str, Any]) -> Figure:
    """Three panels: how far Dice moves, what is found of particles, what is marked where nothing is."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    moved, found, empty = figure.subplots(1, 3)
    changes = result["changes"]
    _bars(moved, {name: f["dice"] - f["before"] for name, f in changes.items()})
    for place, f in enumerate(changes.values()):
        moved.plot([-f["bar"]] * 2, [place - 0.45, place + 0.45], color="0.3", lw=1)
        moved.plot([f["bar"]] * 2, [place - 0.45, place + 0.45], color="0.3", lw=1)
        if f["cdse"] is not None:
            moved.plot(f["cdse"] - f["cdse_before"], place, "k.", ms=6)
    moved.set_xlabel("change of Dice (dots: images of CdSe alone)")
    rows = {name: row["recall"] for name, row in result["recall"].items() if row["particles"]}
    _bars(found, rows)
    for name, bar in RECALL_BARS.items():
        if name in rows:
            found.plot([bar] * 2, [list(rows).index(name) + d for d in (-0.45, 0.45)], color="0.3", lw=1)
    found.set_xlabel("share of the particles found")
    areas = result["false_area"] | {
        f"half-dark: {name}": share for name, share in result["half_dark"].items()
    }
    _bars(empty, {name: 100 * share["marked"] for name, share in areas.items()})
    for place, share in enumerate(areas.values()):
        empty.plot(100 * share["analysed"], place, "k.", ms=6)
    empty.axvline(100 * EMPTY_BAR, color="0.3", lw=1)
    empty.set_xlabel("area marked where nothing is [%] (dots: in the result)")
    figure.suptitle(f"{result['images']} images of {result['specimens']} specimens; lines: bars", fontsize=9)
    return figure


def _bars(axes: Axes, rows: dict[str, float]) -> None:
    axes.barh(range(len(rows)), list(rows.values()), color="tab:blue", alpha=0.7)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=7)
    axes.invert_yaxis()
