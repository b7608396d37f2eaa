"""A report's page: what was read, drawn and put into the template."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from dashboard.report import plots, words
from dashboard.report.facts import Course, Facts
from dashboard.report.montage import EACH, Shown
from dashboard.style import CLASS_STYLES, SHOWN_ORDER, TEMPLATES
from monitor.record.strata import Stratum
from monitor.record.summary_text import size_text

MAPS = 12
"""Maps that are drawn, those with the most particles."""
ON_A_MAP = 250
"""Particles that are drawn on one of them."""
STRIPS = {
    "information_limit_per_nm": "information limit [nm⁻¹]",
    "sharpness_per_nm": "sharpness: half of the specimen's power lies below [nm⁻¹]",
    "defocus_nm": "defocus, where Thon rings show [nm]",
    "astigmatism_nm": "two-fold astigmatism, where Thon rings show [nm]",
    "drift_nm": "drift since the frame before [nm]",
    "noise_power": "dose, as power of the noise [counts² a pixel]",
    "mean_counts": "mean [counts]",
    "blur_nm": "directional blur [nm]",
    "covered": "share of the frame in particles",
    "likeness": "likeness to the training (below 0.01: unlike)",
    "delay_s": "delay from a frame being there to its result [s]",
}
SEVERITY = {"critical": "#d1462f", "warning": "#c9a400", "notice": "#6b7785"}


def render(facts: Facts, shown: Mapping[str, Sequence[Shown]], *, now: float | None = None) -> str:
    """The whole page as HTML.

    Parameters
    ----------
    shown : particles of each class with their pictures.
    now : the time that it is made at [s since 1970 UTC].
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent, "interval": words.interval, "moment": words.moment, "number": words.number,
    }  # fmt: skip
    spans = _spans(facts)
    template = environment.get_template("report.html")
    return template.render(
        facts=facts,
        summary=facts.summary,
        meta={name: facts.meta.get(name) for name in ("created", "started", "material", "command")},
        fraction=facts.summary["fraction"],
        estimand=facts.summary["fraction"]["estimand"],
        sheet=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        patterns=Markup(f'<svg class="patterns" aria-hidden="true">{plots.hatches()}</svg>'),
        styles=[(name, CLASS_STYLES[name]) for name in SHOWN_ORDER],
        made=time.time() if now is None else now,
        span=_span(facts.course),
        settings=words.settings_of(facts),
        course=plots.course_plot(facts.course) if np.isfinite(facts.course["counted"]).any() else None,
        sizes=_part_rows([(size_text(*_ends(ends)), stratum) for ends, stratum in facts.sizes], facts),
        fields=_part_rows([(_field_name(stratum), stratum) for stratum in facts.fields], facts),
        histogram=plots.sizes_plot(facts.particles) if facts.particles.classes else None,
        shown=shown,
        each=EACH,
        maps=_maps(facts),
        lanes=plots.alarms_plot([*spans.items()], len(facts.course)) if spans else None,
        strips=_strips(facts, spans),
        alarms=_alarm_rows(facts),
        models=[
            (name, details, n, words.card(details), words.confusion_table(details))
            for name, details, n in facts.bundles
        ],
        version=words.version_of_program(),
    )


def _span(course: Course) -> tuple[float, float, str] | None:
    """First and last time of the frames [s since 1970 UTC], and what lies between in words."""
    at = course["at"][np.isfinite(course["at"])]
    if not len(at):
        return None
    return float(at.min()), float(at.max()), words.duration(float(at.max() - at.min()))


def _ends(ends: tuple[float, float]) -> tuple[float, float | None]:
    return ends[0], None if np.isinf(ends[1]) else ends[1]


def _field_name(stratum: Stratum) -> str:
    return f"the other {stratum.parts:,}" if stratum.key < 0 else f"field {stratum.key}"


def _part_rows(rows: list[tuple[str, Stratum]], facts: Facts) -> dict[str, Any] | None:
    """Names and figures of the parts, and their plot; None where there are no parts."""
    if not rows:
        return None
    ends = facts.summary["fraction"]["interval"]
    whole = None if ends is None else (ends[0], ends[1])
    return {"rows": rows, "plot": plots.strata_plot(rows, whole, "the fraction of each part")}


def _maps(facts: Facts) -> dict[str, Any] | None:
    particles = facts.particles
    numbers, counts = np.unique(particles.maps[particles.maps > 0], return_counts=True)
    numbers = numbers[np.argsort(-counts, kind="stable")][:MAPS]
    drawn = []
    left_out = 0
    for number in sorted(int(n) for n in numbers if int(n) in facts.views):
        on_it = np.flatnonzero(particles.maps == number)
        left_out += max(0, len(on_it) - ON_A_MAP)
        name = f"map {number}: {len(on_it):,} particles"
        drawn.append(plots.map_plot(particles, on_it[:ON_A_MAP], facts.views[number], name))
    return {"drawn": drawn, "of": len(counts), "left_out": left_out} if drawn else None


def _places(facts: Facts) -> dict[int, int]:
    return {frame: i for i, frame in enumerate(facts.course.frames, 1)}


def _spans(facts: Facts) -> dict[str, list[tuple[int, int, str]]]:
    """First and last place of the alarms of each kind, and their colour."""
    place, count = _places(facts), len(facts.course)
    spans: dict[str, list[tuple[int, int, str]]] = {}
    for alarm in facts.alarms:
        if alarm.since_frame in place:
            first = place[alarm.since_frame]
            last = place.get(alarm.last_frame or 0, count if alarm.until is None else first)
            colour = SEVERITY.get(alarm.severity, SEVERITY["notice"])
            spans.setdefault(alarm.kind, []).append((first, max(first, last), colour))
    return spans


def _strips(facts: Facts, spans: Mapping[str, Sequence[tuple[int, int, str]]]) -> list[Markup]:
    shaded = [span for own in spans.values() for span in own]
    uncounted = [i for i, why in enumerate(facts.course.uncounted, 1) if why is not None]
    names = [name for name in STRIPS if np.isfinite(facts.course[name]).any()]
    return [
        plots.strip_plot(facts.course[name], STRIPS[name], shaded, uncounted, name == names[-1])
        for name in names
    ]


def _alarm_rows(facts: Facts) -> list[dict[str, Any]]:
    place = _places(facts)
    return [
        {
            "alarm": alarm,
            "colour": SEVERITY.get(alarm.severity, SEVERITY["notice"]),
            "first": place.get(alarm.since_frame or 0),
            "last": place.get(alarm.last_frame or 0),
        }
        for alarm in facts.alarms
    ]
