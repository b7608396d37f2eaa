"""One particle beside the frame: its crop with the stack, its spectrum, what counted for its class, its track."""

from __future__ import annotations

from concurrent.futures import Future

from bokeh.layouts import column
from bokeh.models import Div

from dashboard.asking import Asking
from dashboard.components import particle_html as html
from dashboard.components.live_frame import LiveFrame
from dashboard.components.selection import DIRECTIONS, Key
from dashboard.explaining import Explaining, Told, answer_of
from dashboard.inspecting import Inspected
from dashboard.snapshot import Snapshot
from dashboard.style import text_sheet
from dashboard.view import RecordView
from monitor.workers.explained import ToExplain


class ParticlePanel:
    """The tab that tells of the particle that is selected on the frame."""

    def __init__(
        self,
        view: RecordView,
        frame: LiveFrame,
        asking: Asking,
        explaining: Explaining,
        addresses: dict[str, str],
    ) -> None:
        """
        Parameters
        ----------
        addresses : of pictures of particles, by `crop` and `thumb`.
        """
        self._view = view
        self._frame = frame
        self._explaining = explaining
        self._addresses = addresses
        self._now = 0.0
        self.shown: Inspected | None = None
        self.told: Told | None = None
        """What counted for its class; None while that is worked out."""
        self._asked: tuple[ToExplain, Future[Told]] | None = None
        self._sheet = text_sheet("particle")
        self.facts = self._block("particle_facts")
        self.pictures = self._block("particle_pictures")
        self.why = self._block("particle_why")
        self.track = self._block("particle_track")
        self.root = column(
            self.facts, self.pictures, self.why, self.track,
            name="particle", sizing_mode="stretch_both", css_classes=["particle"],
        )  # fmt: skip
        self.root.styles = {"overflow-y": "auto"}
        frame.selection.changed = self._selected
        asking.on("particle", self._pick)
        asking.on("particle-at", self._pick_at)
        asking.on("particle-move", self._move)
        asking.on("particle-clear", lambda _: frame.clear())
        self._draw()

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Read the particle again: it may have been judged anew, followed further, or corrected."""
        self._now = now
        self._read(self._frame.selection.key)

    def tick(self) -> None:
        """Ask for the explanation once the selection stands, and show it when it is there."""
        if self._asked is not None:
            task, future = self._asked
            told = answer_of(future)
            if told is None:
                return  # one question at a time: who steps through many particles waits for none of them
            self._asked = None
            if self._wanted() == task:
                self.told = told
                self._draw()
                return
        wanted = self._wanted()
        if wanted is not None and self.told is None:
            self._asked = wanted, self._explaining.ask(wanted)

    def _wanted(self) -> ToExplain | None:
        return None if self.shown is None else self.shown.to_explain(self._view.directory)

    def _selected(self, key: Key | None) -> None:
        self._read(key)

    def _read(self, key: Key | None) -> None:
        before = self.shown
        self.shown = None if key is None else self._view.inspected(*key)
        if self.shown != before:
            same = before is not None and self._wanted() == before.to_explain(self._view.directory)
            if not same:
                self.told = None
        self._draw()

    def _pick(self, value: str) -> None:
        numbers = _numbers(value)
        if len(numbers) == 2:
            self._frame.select(int(numbers[0]), int(numbers[1]))

    def _pick_at(self, value: str) -> None:
        numbers = _numbers(value)
        if len(numbers) == 3:
            self._frame.pick(int(numbers[0]), numbers[1], numbers[2])

    def _move(self, value: str) -> None:
        direction, classes, *_ = [*value.split(" "), ""]
        if direction in DIRECTIONS:
            self._frame.move(direction, classes.split(","))

    def _block(self, name: str) -> Div:
        block = Div(name=name, sizing_mode="stretch_width", margin=(0, 0, 8, 0))
        block.stylesheets = [self._sheet]
        return block

    def _draw(self) -> None:
        shown = self.shown
        if shown is None:
            gone = self._frame.selection.key is not None
            texts = html.nothing(gone), "", "", ""
        else:
            texts = (
                html.facts(shown, self._now),
                html.pictures(shown, self.told, self._addresses["crop"]),
                html.why(self.told),
                html.track(shown, self._addresses["thumb"]),
            )
        for block, text in zip((self.facts, self.pictures, self.why, self.track), texts, strict=True):
            if block.text != text:
                block.text = text


def _numbers(value: str) -> list[float]:
    try:
        return [float(each) for each in value.split(":")]
    except ValueError:
        return []
