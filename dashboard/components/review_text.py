"""What the review tab says, as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from dashboard.components.audit import NUMBER, scale_bar
from dashboard.crops import crop_box
from dashboard.reviewed import ReviewState
from dashboard.snapshot import ShownFrame, Sighting
from dashboard.style import CLASS_STYLES, percent
from models.results import CLASSES
from monitor.record.reviewing import Doubtful, MissedRow


@dataclass(frozen=True)
class Shown:
    """A doubtful particle as it is shown."""

    of: Doubtful
    told: str | None
    """The class that was told a moment ago."""
    observer: str
    whole: bool
    """Its whole frame is shown."""
    marks: list[MissedRow]
    """In its frame."""


def sample_card(state: ReviewState) -> str:
    """The sample for the fraction, which comes first."""
    if state.drawn:
        first = (
            f"<p>{state.waiting} of the {state.drawn} particles that audits drew are not labelled by you yet. They "
            "come first: only they tell the fraction how often the model errs. They are shown blind, without what the "
            "model said.</p>"
            '<button class="label" data-open="audit" data-review-key="Enter"><kbd>⏎</kbd> label the sample</button>'
        )
    else:
        first = (
            f"<p>No particle was drawn yet. Draw {NUMBER} at random: only such a sample tells the fraction how often "
            "the model errs.</p>"
            f'<button class="label" data-ask="review-draw" data-value="" data-review-key="Enter"><kbd>⏎</kbd> draw '
            f"{NUMBER} particles</button>"
        )
    return (
        f'<div class="first"><h3>1 · the sample for the fraction</h3>{first}'
        '<button data-ask="review-later" data-value="" data-review-key="l"><kbd>l</kbd> later: show the most doubtful '
        "particles</button></div>"
    )


def doubtful_card(shown: Shown | None, count: int, at: int, *, may_undo: bool) -> str:
    """What the model says of a doubtful particle, and what can be done about it; None: the queue is at its end."""
    undo = _button("undo", "", "u", "<kbd>u</kbd> undo", off=not may_undo)
    back = _button("move", "-1", "ArrowLeft", "<kbd>←</kbd> back", off=at == 0)
    if shown is None:
        end = "No particle is doubtful." if not count else f"These were the {count} most doubtful particles."
        again = _button("again", "", "r", "<kbd>r</kbd> look for more")
        return f'<div class="about"><p>{end}</p><div class="beside-buttons">{back}{undo}{again}</div></div>'
    off = not shown.observer
    name = '<p class="warn">▲ Give your name first: corrections are kept with it.</p>' if off else ""
    labels = "".join(
        _button("label", f"{shown.of.particle}:{each}", str(key), f"<kbd>{key}</kbd> <b>{each}</b> "
                f"{CLASS_STYLES[each].words}", off=off, more=f' class="label{_said(shown, each)}"')
        for key, each in enumerate(CLASSES, 1)
    )  # fmt: skip
    whole = "the particle alone" if shown.whole else "whole frame: mark a missed particle"
    return (
        f'<div class="about"><div class="progress">{at + 1} of {count} most doubtful</div>{name}'
        f"{_model(shown.of)}{_corrected(shown)}{labels}"
        f'<div class="beside-buttons">{back}'
        f"{_button('move', '1', 'ArrowRight', '<kbd>→</kbd> next')}{undo}"
        f"{_button('label', f'{shown.of.particle}:empty', 'f', '<kbd>f</kbd> false: no particle', off=off)}"
        f"{_button('whole', '', 'm', f'<kbd>m</kbd> {whole}', more=_pressed(shown.whole))}</div>"
        f"{_marks(shown)}</div>"
    )


def picture(sighting: Sighting, frame: ShownFrame | None, marks: list[MissedRow], address: str) -> str:
    """A particle at its frame's resolution; with `frame` the whole frame, on which a missed particle can be marked."""
    if frame is None:
        top, left, bottom, right = crop_box(sighting)
        url = address.format(id=sighting.particle, stamp=sighting.stamp)
        outlines = [[(float(row), float(col)) for row, col in sighting.outline]]
        words = "the particle; where no picture is seen, none is left"
    else:
        top, left, bottom, right = 0, 0, sighting.height, sighting.width
        url = address.format(id=frame.id, stamp=frame.stamp)
        found = (each for each in frame.particles if each.particle_class != "empty")
        outlines = [list(zip(each.rows.tolist(), each.cols.tolist(), strict=True)) for each in found]
        words = "the whole frame with what was found outlined; click where a particle was missed"
    height, width = bottom - top, right - left
    drawn = "".join(
        '<polygon points="'
        + " ".join(f"{col + 0.5 - left:.1f},{row + 0.5 - top:.1f}" for row, col in outline)
        + '"/>'
        for outline in outlines
    )
    least = 0.012 * max(height, width)
    drawn += "".join(
        f'<circle cx="{mark.col - left:.1f}" cy="{mark.row - top:.1f}" '
        f'r="{max(least, (mark.diameter_nm or 0) / sighting.pixel_size_nm / 2):.1f}"/>'
        for mark in marks
        if top <= mark.row < bottom and left <= mark.col < right
    )
    return (
        f'<div class="seen{"" if frame is None else " mark-here"}" style="aspect-ratio: {width} / {height}" '
        f'data-frame="{sighting.frame_id}" data-box="{top}:{left}:{height}:{width}">'
        f'<img src="{escape(url)}" alt="{words}" draggable="false">'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{drawn}</svg>'
        f"{scale_bar(width * sighting.pixel_size_nm)}</div>"
    )


def what_counts(state: ReviewState) -> str:
    """What counts for what."""
    missed = "1 missed particle is" if len(state.missed) == 1 else f"{len(state.missed)} missed particles are"
    return (
        '<div class="counts-for"><h3>what counts for what</h3><ul>'
        "<li><b>Labels of the sample</b> (drawn at random, shown blind) count for the fraction. No forest learns from "
        "them.</li>"
        "<li><b>Corrections of doubtful particles</b> do not count for the fraction: they were chosen because they "
        f"looked doubtful, and would bias it. A refit of the forest learns from them ({state.corrections} so far).</li>"
        f"<li><b>Marks of missed particles</b> change neither; {missed} marked, for those who train the network.</li>"
        "</ul></div>"
    )


def _model(of: Doubtful) -> str:
    bars = "".join(
        f'<tr><td>{name}</td><td><span class="bar-of" style="width: {100 * p:.0f}%"></span></td>'
        f'<td class="n">{percent(p, 0)}</td></tr>'
        for name, p in zip(CLASSES, of.probabilities, strict=True)
    )
    seen = "seen once" if of.seen == 1 else f"seen in {of.seen} frames"
    return (
        f'<p>The model says <b class="called">{of.particle_class}</b>, ahead by {percent(of.margin, 0)}.</p>'
        f'<table class="shares">{bars}</table>'
        f'<p class="dim">frame {of.frame}, particle {of.label} · {of.diameter_nm:.1f} nm · {seen} · judged by '
        f"{escape(of.bundle)}</p>"
    )


def _corrected(shown: Shown) -> str:
    if shown.told is not None:
        return f'<p class="good">You say <b>{shown.told}</b>.</p>'
    held = shown.of.corrected
    if held is None:
        return ""
    by = "somebody" if held.observer is None else escape(held.observer)
    return f'<p class="good">{by} said <b>{held.particle_class}</b>.</p>'


def _said(shown: Shown, name: str) -> str:
    held = shown.of.corrected
    return " chosen" if name == (shown.told or (held and held.particle_class)) else ""


def _marks(shown: Shown) -> str:
    if not shown.whole and not shown.marks:
        return ""
    rows = "".join(
        f"<li>row {mark.row:.0f}, column {mark.col:.0f}"
        f"{'' if mark.diameter_nm is None else f', {mark.diameter_nm:g} nm'} · {escape(mark.observer)} "
        f'<button data-ask="review-withdraw" data-value="{mark.command}" '
        f'aria-label="take back the mark at row {mark.row:.0f}, column {mark.col:.0f}">take back</button></li>'
        for mark in shown.marks
    )
    told = (
        "<p>Click in the picture where a particle was missed; give its diameter above, if you know it.</p>"
        if shown.whole
        else ""
    )
    return f'{told}<ul class="marks">{rows}</ul>' if rows else told


def _button(what: str, value: str, key: str, words: str, *, off: bool = False, more: str = "") -> str:
    return (
        f'<button data-ask="review-{what}" data-value="{escape(value)}" data-review-key="{key}"{more}'
        f"{' disabled' if off else ''}>{words}</button>"
    )


def _pressed(on: bool) -> str:
    return f' aria-pressed="{"true" if on else "false"}"'
