"""An audit: particles that were drawn, shown one by one without what the model said, to be labelled by a person."""

from __future__ import annotations

from html import escape

from bokeh.models import Div

from dashboard.asking import Asking
from dashboard.crops import crop_box
from dashboard.snapshot import AuditState, Figures, Sighting, Snapshot
from dashboard.style import CLASS_STYLES, percent, text_sheet
from dashboard.view import RecordView
from models.results import CLASSES

#: So many are asked for with one click.
NUMBER = 20
NAME_LENGTH = 80
#: Lengths of scale bars [nm]; one is about a quarter of the crop.
_BARS_NM = (0.2, 0.5, 1, 2, 5, 10, 20, 50)


class AuditPanel:
    """One viewer's sitting: who labels, which particle is shown, what was labelled in it."""

    def __init__(self, view: RecordView, asking: Asking, address: str = "crop/{id}.png?v={stamp}") -> None:
        self._view = view
        self._asking = asking
        self._address = address
        self._observer = ""
        self._open = False
        self._state = AuditState()
        self._sent: set[int] = set()
        """Labelled here; the session may not have answered yet."""
        self._skipped: list[int] = []
        self._again: list[int] = []
        """To be shown next, for their label was taken back."""
        self._history: list[int] = []
        self._before: Figures | None = None
        self._figures: Figures | None = None
        self._said = ""
        self.shown: Sighting | None = None
        self.root = Div(name="audit", text="", sizing_mode="stretch_both", margin=0)
        self.root.stylesheets = [text_sheet("audit", ":host { overflow: hidden auto; padding: 0 10px 8px; }")]
        asking.on("audit", self._draw_more)
        asking.on("audit-open", self._switch)
        asking.on("observer", self._named)
        asking.on("label", self._label)
        asking.on("skip", self._skip)
        asking.on("undo", self._undo)

    @property
    def observer(self) -> str:
        """Who looks at this page, by the name that was given; empty where none was."""
        return self._observer

    def update(self, snapshot: Snapshot) -> None:
        """Show the next particle, or how it went; sends nothing where nothing is different."""
        self._figures = snapshot.figures
        if self._open:
            self._refresh()

    def _switch(self, value: str) -> None:
        self._open = value == "1"
        self._said = ""
        if self._open:
            self._before = self._figures
            self._refresh()
        else:
            self.shown = None
            self.root.text = ""

    def _named(self, value: str) -> None:
        name = value.strip()[:NAME_LENGTH]
        if name != self._observer:
            self._observer = name
            self._sent, self._skipped, self._again, self._history = set(), [], [], []
            self._before = self._figures
            if self._open:
                self._refresh()

    def _draw_more(self, value: str) -> None:
        number = int(value) if value.isdigit() else NUMBER

        def answered(accepted: bool | None, said: str) -> None:
            self._said = said
            self._refresh()

        self._said, self._before = "asked for particles …", self._figures
        self._asking.command("audit", {"number": number}, answered)
        self._refresh()

    def _label(self, value: str) -> None:
        number, _, name = value.partition(":")
        if not number.isdigit() or name not in CLASSES or not self._observer or self.shown is None:
            return
        particle = int(number)
        if particle != self.shown.particle:  # a second click, meant for the one before
            return

        def answered(accepted: bool | None, said: str) -> None:
            if not accepted:
                if accepted is False:
                    self._sent.discard(particle)
                self._said = said
            elif said != "kept":
                self._said = said
            self._refresh()

        self._said = ""
        self._sent.add(particle)
        self._history.append(particle)
        told = {"particle": particle, "observer": self._observer, "class": name}
        self._asking.command("label", told, answered)
        self._refresh()

    def _skip(self, value: str) -> None:
        if self.shown is not None and value == str(self.shown.particle):
            self._skipped = [n for n in self._skipped if n != self.shown.particle] + [self.shown.particle]
            self._again = [n for n in self._again if n != self.shown.particle]
            self._refresh()

    def _undo(self, _value: str) -> None:
        if not self._history or not self._observer:
            return
        particle = self._history.pop()

        def answered(accepted: bool | None, said: str) -> None:
            self._said = "taken back" if accepted else said
            self._sent.discard(particle)
            self._refresh()

        self._again.append(particle)
        told = {"particle": particle, "observer": self._observer, "class": None}
        self._asking.command("label", told, answered)
        self._refresh()

    def _refresh(self) -> None:
        if not self._open:
            return
        self._state = self._view.audit(self._observer)
        self.shown = self._next()
        text = self._question(self.shown) if self.shown is not None else self._end()
        if text != self.root.text:
            self.root.text = text

    def _next(self) -> Sighting | None:
        waiting = [n for n in self._state.waiting if n not in self._sent]
        self._skipped = [n for n in self._skipped if n in waiting]
        # What was taken back comes first, what was skipped last; the rest as it was drawn.
        order = [n for n in self._again[::-1] if n in waiting]
        order += [n for n in waiting if n not in order and n not in self._skipped]
        order += [n for n in self._skipped if n not in order]
        for number in order:
            found = self._view.sighting(number)
            if found is not None:
                if number not in self._again:
                    self._again.append(number)  # stays the one that is shown, whatever comes in
                return found
        return None

    def _question(self, shown: Sighting) -> str:
        state = self._state
        done = state.done + len(self._sent.intersection(state.waiting))
        off = "" if self._observer else " disabled"
        name = (
            "" if self._observer else '<p class="warn">▲ Give your name first: labels are kept with it.</p>'
        )
        buttons = "".join(
            f'<button class="label" data-ask="label" data-value="{shown.particle}:{each}" data-key="{key}"{off}>'
            f"<kbd>{key}</kbd> <b>{each}</b> {CLASS_STYLES[each].words}</button>"
            for key, each in enumerate(CLASSES, 1)
        )
        undo = "" if self._history and self._observer else " disabled"
        return (
            f'<div class="sitting">{_crop(shown, self._address)}<div class="asked">'
            f'<div class="progress">{min(done + 1, state.drawn)} of {state.drawn}</div>{name}'
            f"<p>What is the outlined particle? What the model said is not shown.</p>{buttons}"
            f'<div class="beside-buttons"><button data-ask="skip" data-value="{shown.particle}" data-key="s">'
            f"<kbd>s</kbd> skip</button>"
            f'<button data-ask="undo" data-value="" data-key="u"{undo}><kbd>u</kbd> undo</button></div>'
            f'<div class="said" role="status">{escape(self._said)}</div>{self._agreed()}</div></div>'
        )

    def _end(self) -> str:
        said = f'<p class="said" role="status">{escape(self._said)}</p>' if self._said else ""
        more = f'<button class="label" data-ask="audit" data-value="{NUMBER}">Audit {NUMBER} more</button>'
        if not self._state.drawn:
            more = more.replace(" more", "")
            return f"<p>No particle was drawn to be labelled yet.</p>{said}{more}"
        back = '<button data-ask="undo" data-value="" data-key="u"><kbd>u</kbd> undo</button>'
        return (
            f"<p>All {self._state.drawn} drawn particles are labelled by <b>{escape(self._observer)}</b>.</p>"
            f'<p class="moved">{moved(self._before, self._figures)}</p>{self._agreed()}{said}'
            f'<div class="beside-buttons">{more}{back if self._history else ""}</div>'
        )

    def _agreed(self) -> str:
        found = self._state.agreement
        if found is None:
            return ""
        low, high = found.interval
        return (
            f'<p class="dim">Two observers on {found.n:,} particles: κ = {found.kappa:.2f}'
            f" (95 % {low:.2f} – {high:.2f}).</p>"
        )


def moved(before: Figures | None, after: Figures | None) -> str:
    """How the fraction is with the labels, and how it was without them."""
    return f"The fraction was {_stood(before)}; it is {_stood(after)}."


def _stood(figures: Figures | None) -> str:
    if figures is None or figures.corrected is None:
        return "without an interval"
    return f"{percent(figures.corrected)} ({percent(figures.low)} – {percent(figures.high)})"


def _crop(shown: Sighting, address: str) -> str:
    top, left, bottom, right = crop_box(shown)
    height, width = bottom - top, right - left
    points = " ".join(f"{col + 0.5 - left:.1f},{row + 0.5 - top:.1f}" for row, col in shown.outline)
    url = escape(address.format(id=shown.particle, stamp=shown.stamp))
    return (
        f'<div class="crop" style="aspect-ratio: {width} / {height}">'
        f'<img src="{url}" alt="the particle; where no picture is seen, none is left: skip it" draggable="false">'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true"><polygon points="{points}"/></svg>'
        f"{scale_bar(width * shown.pixel_size_nm)}</div>"
    )


def scale_bar(across_nm: float) -> str:
    """A scale bar for a picture that is so wide [nm]."""
    bar = max((nm for nm in _BARS_NM if nm <= across_nm / 3), default=_BARS_NM[0])
    return f'<div class="bar" style="width: {100 * bar / across_nm:.2f}%">{bar:g} nm</div>'
