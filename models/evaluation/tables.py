"""What `models.evaluation.evaluate` found, as text for a terminal and as Markdown for the model card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from models.evaluation.null_scores import LEAKY
from models.results import CLASSES

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("images", "images", "d"),
    ("dice", "Dice", ".3f"),
    ("median_image_dice", "median of images", ".3f"),
    ("instance_f1", "instance F1", ".3f"),
    ("instance_f1_plain", "F1, slivers too", ".3f"),
    ("false_area", "false area", ".2%"),
)
"""Of the tables by condition: key, heading, format."""
SPECIMENS = 10
"""So many of the specimens whose `null` leaks most are shown."""
TITLES = {
    "range": "pooled",
    "dose": "dose on the specimen",
    "microscope": "microscope",
    "energy": "energy",
    "carbon": "thickness of the carbon",
    "camera": "camera",
    "material": "material (images of one material alone)",
    "preset": "kind of specimen",
    "dose and microscope": "dose and microscope",
}


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the first column names the row."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def as_text(self) -> str:
        """Aligned columns."""
        cells = [(self.title, *self.headings), *self.rows]
        widths = [max(len(row[k]) for row in cells) for k in range(len(self.headings) + 1)]

        def aligned(row: tuple[str, ...]) -> str:
            first, *rest = (cell.rjust(w) for cell, w in zip(row, widths, strict=True))
            return "  ".join([row[0].ljust(len(first)), *rest])

        return "\n".join(aligned(row) for row in cells)

    def as_markdown(self) -> str:
        """A pipe table."""
        lines = [
            "| " + " | ".join((self.title, *self.headings)) + " |",
            "|---" + "|---:" * len(self.headings) + "|",
        ]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join(lines)


def shown(value: float | None, form: str) -> str:
    """A figure in a format; a dash where there is none."""
    return "–" if value is None else format(value, form)


def tables(result: dict[str, Any]) -> Iterator[Table]:
    """Every table that a result has something for."""
    if "bars" in result:
        yield _bars(result["bars"])
    segmentation = result.get("segmentation")
    if segmentation is not None:
        for name, title in TITLES.items():
            if name in segmentation["by_condition"]:
                yield _condition(title, segmentation["by_condition"][name])
        for name, rows in segmentation["by_particle"].items():
            if rows:
                yield _particles(f"particle's {name}", rows)
        yield _calibration(segmentation["pixel_calibration"])
    if "false_area" in result:
        yield _empty(result["false_area"], result.get("false_area_left", {}))
    for where, figures in result.get("real", {}).items():
        yield _real(where, figures)
    for where, figures in result.get("blank", {}).items():
        rows = tuple((row["frame"], f"{row['marked']:.2%}") for row in figures["each"])
        yield Table(f"{where}: frames without particles", ("marked",), rows)
    if "confusion" in result:
        yield _by_particle(result["confusion"])
    named = {"whole chain": "classification", "cross-validation": "cross_validation"}
    for title, key in {**named, "held-out specimens": "held_out"}.items():
        if key in result:
            yield _confusion(title, result[key])
            if result[key].get("range"):
                yield _confusion(f"{title}, range of the bars", result[key]["range"])
            for what, rows in result[key].get("strata", {}).items():
                yield _strata(f"{title}, by {what}", rows)
            if result[key].get("null", {}).get("all", {}).get("regions"):
                yield from _null(title, result[key]["null"])


def _bars(bars: dict[str, dict[str, Any]]) -> Table:
    said = {True: "met", False: "NOT met", None: "not measured"}
    rows = tuple(
        (name, shown(bar["figure"], ".4f"), f"{bar['bar']:g}", said[bar["met"]]) for name, bar in bars.items()
    )
    return Table("bar", ("figure", "bar", ""), rows)


def _empty(marked: dict[str, float], left: dict[str, float]) -> Table:
    """What the network marks, and what of it the forest does not call `empty`."""
    rows = tuple((kind, f"{share:.3%}", shown(left.get(kind), ".3%")) for kind, share in marked.items())
    return Table("frames that hold nothing", ("marked by the network", "not called `empty`"), rows)


def _condition(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    return Table(
        title,
        tuple(heading for _, heading, _ in COLUMNS),
        tuple(
            (name, *(shown(figures[key], form) for key, _, form in COLUMNS)) for name, figures in rows.items()
        ),
    )


def _particles(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    return Table(
        title,
        ("particles", "found", "median overlap"),
        tuple(
            (name, str(f["particles"]), f"{f['recall']:.3f}", f"{f['median_overlap']:.3f}")
            for name, f in rows.items()
        ),
    )


def _calibration(kept: dict[str, dict[str, Any]]) -> Table:
    title = "expected calibration error of the pixels"
    names = {"range": "range of the bars", "all": "every image"}
    rows = tuple(
        (said, f"{kept[f'{name} uncalibrated']['error']:.4f}", f"{kept[name]['error']:.4f}")
        for name, said in names.items()
        if name in kept
    )
    return Table(title, ("before calibration", "after"), rows)


def _real(where: str, figures: dict[str, Any]) -> Table:
    rows = [
        (
            r["frame"],
            f"{r['pixel_size_nm']:g}",
            shown(r["dice"], ".3f"),
            f"{r['false_area']:.2%}",
            f"{r['covered']:.1%}",
        )
        for r in figures["each"]
    ]
    rows.append(
        ("mean", "", shown(figures["mean_dice"], ".3f"), shown(figures["false_area_of_empty"], ".2%"), "")
    )
    return Table(where, ("nm/px", "Dice", "false area", "covered"), tuple(rows))


def _confusion(title: str, table: dict[str, Any]) -> Table:
    """A row a class; where misses are known, with those that no region covers."""
    missed = table.get("missed")
    rows = tuple(
        (
            name,
            *(str(n) for n in table["confusion"][i]),
            *((str(missed.get(name, "–")),) if missed is not None else ()),
            f"{table['recall'][name]:.3f}",
            f"{table['precision'][name]:.3f}",
        )
        for i, name in enumerate(CLASSES)
    )
    more = ("no region",) if missed is not None else ()
    return Table(f"{title}: true \\ called", (*CLASSES, *more, "recall", "precision"), rows)


def _strata(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    """`models.evaluation.class_scores.by_stratum`."""
    headings = ("regions", "macro-F1", "calibration error", "by chance alone", "null leaks")
    keys = ("macro_f1", "calibration_error", "by_chance", "leaks")
    told = tuple(
        (name, str(f["regions"]), *(shown(f[key], ".3f") for key in keys)) for name, f in rows.items()
    )
    return Table(title, headings, told)


def _by_particle(matrix: dict[str, Any]) -> Table:
    """The confusion matrix that the bundle carries (`models.confusion`)."""
    lines = zip([*matrix["true"], "unscored"], [*matrix["counts"], matrix["unscored"]], strict=True)
    rows = tuple((name, *(f"{n:.1f}" for n in counts)) for name, counts in lines)
    return Table(
        f"particles, sure from {matrix['sure_from']:g}: true \\ called", tuple(matrix["called"]), rows
    )


def _null(title: str, figures: dict[str, Any]) -> Iterator[Table]:
    """What becomes of `null` particles, by zone and for the specimens that leak most."""
    headings = ("regions", "null recall", "called no", "called yes")

    def row(name: str, shares: dict[str, Any]) -> tuple[str, ...]:
        return name, str(shares["regions"]), *(f"{shares[k]:.3f}" for k in ("recall", "no", "yes"))

    rows = [row("all", figures["all"]), *(row(*pair) for pair in sorted(figures["by_zone"].items()))]
    yield Table(f"{title}, null by zone", headings, tuple(rows))
    leaky = [pair for pair in figures["by_specimen"].items() if pair[1]["no"] + pair[1]["yes"] > 0]
    over = f"{figures['specimens_over']} of {len(figures['by_specimen'])} above {LEAKY:g}"
    rows = [row(*pair) for pair in leaky[:SPECIMENS]]
    yield Table(f"{title}, null by specimen ({over}; the leakiest)", headings, tuple(rows))


def notes(result: dict[str, Any]) -> Sequence[str]:
    """Sentences that go with the tables."""
    said = []
    within = (result.get("segmentation") or {}).get("range")
    if within:
        low, high = within["dice_interval"]
        said.append(
            f"Range of the bars (60 to 1,000 e/Å², corrected and uncorrected, carbon of 2 to 10 nm): "
            f"Dice {within['dice']:.3f}, 95 % between {low:.3f} and {high:.3f} over specimens."
        )
    if result.get("segmentation"):
        instances = result["segmentation"]["instances"]
        said.append(
            "Instance F1 at an intersection over union of 0.5; not judged are particles of which less than half is "
            "seen and what reaches less than 1 nm in from the border. "
            f"{instances['merged']} regions join particles, {instances['split']} particles are split."
        )
    for title in ("classification", "cross_validation", "held_out"):
        if title in result:
            table = result[title]
            said.append(
                f"{title.replace('_', ' ').capitalize()}: macro-F1 {table['macro_f1']:.3f} over "
                f"{table['regions']} regions, calibration error {table['calibration_error']:.3f}."
            )
            if within := table.get("range"):
                said.append(
                    f"In the range of the bars: macro-F1 {within['macro_f1']:.3f} over {within['regions']} regions, "
                    f"{within['macro_f1_with_misses']:.3f} with the {sum(within['missed'].values())} particles that "
                    f"no region covers; calibration error {within['calibration_error']:.3f}."
                )
    if "metrics_of" in result:
        said.append(
            f"The bundle's own record was measured on {result['metrics_of']}, from which it was made."
        )
    return said


def as_text(result: dict[str, Any]) -> str:
    """The scores as tables to read."""
    blocks = [f"bundle {result['bundle']}: {result.get('source', 'real frames')}", *notes(result)]
    return "\n\n".join([*blocks, *(table.as_text() for table in tables(result))])
