"""Refit: the forest learns from the corrections, is looked at in shadow, promoted and taken back."""

from __future__ import annotations

from html import escape
from typing import Any

from bokeh.models import Div

from dashboard.asking import LOOK_ONLY, Asking
from dashboard.components.audit import AuditPanel
from dashboard.force import InForce
from dashboard.refitting import RefitState, refits_of
from dashboard.snapshot import Snapshot
from dashboard.style import percent, text_sheet
from dashboard.view import RecordView
from models.results import CLASSES
from monitor.record.judging import PROMOTE, TAKE_BACK

_PROMOTED = (
    "Promoted, it judges the frames to come. What was found so far is judged by it again, from the features in the "
    "record, so that the fraction is of one bundle with its own errors. This takes a moment; the figures come back "
    "frame by frame. Labels of earlier audits were drawn by the old calls: they count again once an audit draws these "
    "particles anew, and nobody is asked twice. Taken back, the bundle that the session began with judges again in the "
    "same way. Where no session runs, begin one with"
)


class Refit:
    """One viewer's look at the refits of a session, which all viewers share."""

    def __init__(self, view: RecordView, asking: Asking, audit: AuditPanel) -> None:
        self._view = view
        self._asking = asking
        self._audit = audit
        self._said = ""
        self._drawn: object = None
        self.refits = refits_of(view.directory)
        self.root = Div(name="refit", text="", sizing_mode="stretch_both", margin=0)
        self.root.stylesheets = [text_sheet("refit", ":host { overflow: hidden auto; }")]
        handlers = {
            "begin": self._begin, "cancel": self._cancel, "look": self._look, "promote": self._promote,
            "take-back": self._take_back, "refresh": lambda _value: self._draw(),
        }  # fmt: skip
        for what, handler in handlers.items():
            asking.on(f"refit-{what}", handler)

    def update(self, _snapshot: Snapshot, _now: float) -> None:
        """Show the refit; sends nothing where nothing is different."""
        self._draw()

    def tick(self) -> None:
        """Show how far a refit is."""
        if self._drawn is not None and self.refits.state is not self._drawn:
            self._draw()

    def _begin(self, _value: str) -> None:
        force = self._view.in_force()
        if not self._asking.may_ask:
            self._said = LOOK_ONLY
        elif force is None or force.base is None:
            self._said = "the bundle that the session began with is not there"
        else:
            self._said = self.refits.begin(force.base) or ""
        self._draw()

    def _cancel(self, _value: str) -> None:
        if self._asking.may_ask:
            self.refits.cancel()

    def _look(self, _value: str) -> None:
        if self._asking.may_ask:
            self.refits.look_again()
            self._draw()

    def _promote(self, _value: str) -> None:
        bundle = self.refits.state.bundle
        if bundle is not None and self.refits.state.stage == "ready":
            self._ask(PROMOTE, {"bundle": str(bundle.resolve())})

    def _take_back(self, _value: str) -> None:
        self._ask(TAKE_BACK, {})

    def _ask(self, command: str, arguments: dict[str, Any]) -> None:
        if not self._audit.observer:
            self._said = "Give your name first: it is kept who did so."
            self._draw()
            return

        def answered(_accepted: bool | None, said: str) -> None:
            self._said = said
            self._draw()

        self._said = "asked …"
        self._asking.command(command, {**arguments, "observer": self._audit.observer}, answered)
        self._draw()

    def _draw(self) -> None:
        state = self._drawn = self.refits.state
        corrections = self._view.review("", 0).corrections
        text = refit_text(state, self._view.in_force(), corrections, self._said)
        if text != self.root.text:
            self.root.text = text


def refit_text(state: RefitState, force: InForce | None, corrections: int, said: str) -> str:
    """A refit as HTML."""
    first = (
        f"<p>{corrections} corrections to learn from. A refit takes about a minute of a processor core, in a process "
        "of its own and of low priority; nothing that judges changes by it. It learns from the corrections together "
        "with the rows of the training, and begins with the bundle that the session began with.</p>"
    )
    judges = (
        "" if force is None or force.bundle is None else f"<p>Now judges: <b>{escape(force.bundle)}</b></p>"
    )
    off = "" if corrections and not state.running else " disabled"
    buttons = f'<button data-ask="refit-begin" data-value=""{off}>refit the forest</button>'
    if state.running:
        buttons += '<button data-ask="refit-cancel" data-value="">cancel</button>'
    if force is not None and force.promoted:
        buttons += '<button data-ask="refit-take-back" data-value="">take back the promoted forest</button>'
    status = f'<p class="said" role="status">{escape(said)}</p>' if said else ""
    return f'{judges}{first}<div class="beside-buttons">{buttons}</div>{status}{_progress(state)}{_made(state, force)}'


def _progress(state: RefitState) -> str:
    if state.running:
        bar = f'<progress max="{state.steps}" value="{state.done}" aria-label="how far the refit is"></progress>'
        return f'<p role="status">{bar} {escape(state.what)} …</p>'
    return f'<p class="warn">▲ {escape(state.what)}</p>' if state.what else ""


def _made(state: RefitState, force: InForce | None) -> str:
    """What a refit that is there would change, and what can be done with it."""
    if state.bundle is None or state.running:
        return ""
    here = force is not None and force.bundle == state.id
    promote = (
        "<p class='good'>It judges this session.</p>"
        if here
        else '<div class="beside-buttons"><button data-ask="refit-promote" data-value="">promote: it judges from the '
        'next frame on</button><button data-ask="refit-look" data-value="">compare with the session as it is now'
        "</button></div>"
    )
    return (
        f"<h3>in shadow: {escape(state.id)}</h3><p>{escape(state.verdict)}</p>{_stored(state.comparison)}"
        f"{_here(state.shadow)}{promote}"
        f'<p class="dim">{_PROMOTED} <code>--bundle {escape(str(state.bundle))}</code>.</p>'
    )


def _stored(comparison: dict[str, Any] | None) -> str:
    """On rows of the training that no forest learnt from."""
    if not comparison or not comparison["old"].get("held_out") or not comparison["new"].get("held_out"):
        return ""
    old, new = comparison["old"]["held_out"], comparison["new"]["held_out"]
    rows = (
        ("macro-F1", f"{old['macro_f1']:.3f}", f"{new['macro_f1']:.3f}"),
        ("null called no or yes", percent(_leak(old)), percent(_leak(new))),
        ("recall of yes", percent(old["recall"]["yes"]), percent(new["recall"]["yes"])),
    )
    body = "".join(f"<tr><td>{name}</td><td>{a}</td><td>{b}</td></tr>" for name, a, b in rows)
    head = f"<tr><th>{new['regions']} stored rows, held out</th><th>old</th><th>new</th></tr>"
    return f'<table class="compared">{head}{body}</table>'


def _leak(scores: dict[str, Any]) -> float | None:
    """The share of `null` regions that are called `no` or `yes`, and so reach the fraction."""
    row = scores["confusion"][CLASSES.index("null")]
    total = sum(row)
    return (row[CLASSES.index("no")] + row[CLASSES.index("yes")]) / total if total else None


def _here(shadow: dict[str, Any] | None) -> str:
    """On this session."""
    if shadow is None:
        return ""
    tracks = shadow["tracks"]
    moved, count = _moved(tracks), sum(map(sum, tracks))
    seen, sightings = _moved(shadow["sightings"]), sum(map(sum, shadow["sightings"]))
    head = "".join(f"<th>{name}</th>" for name in CLASSES)
    body = "".join(
        f"<tr><th>{name}</th>"
        + "".join(f'<td class="{"same" if i == j else ""}">{n}</td>' for j, n in enumerate(row))
        + "</tr>"
        for i, (name, row) in enumerate(zip(CLASSES, tracks, strict=True))
    )
    return (
        f"<p>On this session {moved} of {count} particles change their class ({seen} of {sightings} sightings). "
        f"Fraction: {_fraction(shadow['before'])} before, {_fraction(shadow['after'])} after, without labels.</p>"
        f'<table class="compared"><tr><th>old ↓ new →</th>{head}</tr>{body}</table>'
    )


def _moved(table: list[list[int]]) -> int:
    return sum(map(sum, table)) - sum(table[k][k] for k in range(len(CLASSES)))


def _fraction(told: dict[str, Any]) -> str:
    if told["corrected"] is None:
        return "without an interval"
    labels = f", {told['labels']} labels" if told["labels"] else ""
    return f"<b>{percent(told['corrected'])}</b> ({percent(told['low'])} – {percent(told['high'])}{labels})"
