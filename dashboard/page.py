"""A viewer's page: the components put together, and the clock on which they pull."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote

from bokeh.events import ConnectionLost, DocumentReady
from bokeh.models import CustomJS
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from dashboard.access import Role
from dashboard.answers import Answers
from dashboard.asking import Asking
from dashboard.components.alarms import Alarms
from dashboard.components.audit import AuditPanel
from dashboard.components.counts import Counts
from dashboard.components.fields import Fields
from dashboard.components.fraction import Fraction
from dashboard.components.ledger import LedgerPanel
from dashboard.components.live_frame import LiveFrame
from dashboard.components.notes import Notes
from dashboard.components.particle import ParticlePanel
from dashboard.components.pulse import Pulse
from dashboard.components.quality import Quality
from dashboard.components.refit import Refit
from dashboard.components.review import Review
from dashboard.components.settings_panel import SettingsPanel
from dashboard.components.sizes import SizeHistogram
from dashboard.crops import Crops
from dashboard.explaining import Explaining
from dashboard.frame_files import FrameFiles
from dashboard.playback import Playback
from dashboard.sessions import SessionList
from dashboard.snapshot import Snapshot
from dashboard.style import TEMPLATES, name_all
from dashboard.theme import DARK, THEMES, switch
from dashboard.view import RecordView
from monitor.record.database import is_session

#: How often each viewer's page is brought up to date [ms]: never more often for frames that come quickly.
TICK_MS = 400
#: How often it is looked whether a frame is there that came after a pause, and is shown at once [ms].
LOOK_MS = 50
LIST_TICK_MS = 2000
NOW = "now"
"""The tab that is open at first: the fraction, the counts, the sizes."""

Clock = Callable[[], float]


class Part(Protocol):
    """A component in a tab of its own beside the frame."""

    root: Any

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Show what stands in `snapshot`; sends nothing where nothing is different."""


@runtime_checkable
class Working(Protocol):
    """A part that goes on with something between two states of the record."""

    def go_on(self, now: float) -> None:
        """Called on the viewer's clock while its tab is open."""


@dataclass(frozen=True)
class Tab:
    """A tab: the name of its root, the title on its button, and what makes its part.

    `templates/tabs/<name>.html` (before the root), `.css` and `.js` belong to it where they exist, and
    `templates/blocks/<root>.css` to its blocks of text.
    """

    name: str
    title: str
    make: Callable[[SessionPage], Part]


TABS: tuple[Tab, ...] = (
    Tab("particle", "particle", lambda page: page.particle),
    Tab("review", "review", lambda page: page.review()),
    Tab("refit", "refit", lambda page: page.refit),
    Tab("quality", "quality", lambda page: Quality(page.view, page.frame.look_at)),
    Tab("fields", "by size and field", lambda page: Fields(page.view, page.frame.look_at, page.beside)),
    Tab("settings", "settings", lambda page: SettingsPanel(page.view, page.asking, page.audit)),
    Tab("notes", "notes & files", lambda page: Notes(page.view, page.asking, page.name)),
)
"""In the order of their buttons, after `now`. A part is brought up to date only while its tab is open."""


class SessionPage:
    """All components of one viewer over one session."""

    view: RecordView
    frame: LiveFrame
    asking: Asking
    audit: AuditPanel
    refit: Refit
    name: str | None

    def __init__(
        self,
        view: RecordView,
        *,
        name: str | None = None,
        clock: Clock = time.time,
        steady: Clock = time.monotonic,
        role: Role = Role.OPERATOR,
        explaining: Explaining | None = None,
    ) -> None:
        """
        Parameters
        ----------
        name : of the session in the folder that is served; None: it is the only one.
        explaining : shared by all pages of a process; None: one of its own.
        """
        self.view = view
        self.name = name
        self.explaining = explaining or Explaining()
        self._clock, self._steady = clock, steady
        self._seen: Snapshot | None = None
        self._ticked = self._framed = -1.0
        """When `tick` was called last, and when it last brought a frame [s, steady clock]."""
        self.asking = Asking(view, clock, may_ask=role is Role.OPERATOR)
        self.pulse = Pulse()
        self.frame = LiveFrame(
            view,
            picture_address("preview", "jpg", name),
            {kind: picture_address(kind, "json", name) for kind in ("region", "spectrum")},
        )
        self.particle: ParticlePanel = ParticlePanel(
            view, self.frame, self.asking, self.explaining,
            {kind: picture_address(kind, "png", name) for kind in ("crop", "thumb")},
        )  # fmt: skip
        self.playback = Playback(self.frame, view)
        self.frame.looked.append(self._looked)
        self.fraction = Fraction(view.goal, self._go_to)
        self.counts = Counts()
        self.sizes = SizeHistogram()
        self.alarms = Alarms(self.asking)
        self.audit = AuditPanel(view, self.asking, picture_address("crop", "png", name))
        self.ledger = LedgerPanel()
        self.refit = Refit(view, self.asking, self.audit)
        # Only what hangs on a root belongs to a Document and reaches the browser.
        self.audit.root.tags = [self.asking.source]
        self.tabs: dict[str, Part] = {tab.name: tab.make(self) for tab in TABS}
        self._open = NOW
        for part in self.tabs.values():
            if isinstance(part, Fields):
                self.asking.on("field", part.go)
        self.asking.on("tab", self.open)
        self.asking.on("time", self._key)
        self.asking.on("live", lambda _value: self._key("live"))
        parts: tuple[Any, ...] = (
            self.pulse, self.frame, self.fraction, self.counts, self.sizes, self.alarms, self.audit, self.ledger,
            *self.tabs.values(),
        )  # fmt: skip
        self.roots: list[Any] = [part.root for part in parts]
        self.tick()

    def review(self) -> Review:
        """What is reviewed, with the audit's name of the observer."""
        crop, preview = (picture_address(*kind, self.name) for kind in (("crop", "png"), ("preview", "jpg")))
        return Review(self.view, self.asking, self.audit, crop, preview)

    @property
    def beside(self) -> Path | None:
        """The folder whose other sessions may be looked at; None where this one alone is served."""
        return None if self.name is None else self.view.directory.parent

    def open(self, name: str) -> None:
        """Show another tab; one by a name that there is none of is `now`."""
        self._open = name if name in self.tabs else NOW
        if self._seen is not None:
            self._beside(self._seen, self._clock())

    def _beside(self, snapshot: Snapshot, now: float) -> None:
        """Bring what stands beside the frame up to date."""
        if self._open != NOW:
            self.tabs[self._open].update(snapshot, now)
            return
        # While a frame is looked back at, the figures are those that stood after it.
        back = self.frame.looked_back_at
        moment = None if back is None else self.view.moment(back)
        as_of = None if moment is None else moment.frame_id
        words = ""
        if moment is not None:
            words = (
                f"as of frame {as_of:,}" if moment.sizes is not None else "of now, too many to count again"
            )
            sizes = moment.sizes or snapshot.sizes
            snapshot = replace(snapshot, figures=moment.figures, sizes=sizes)
        self.fraction.update(snapshot, as_of)
        self.counts.update(snapshot, as_of)
        self.sizes.update(snapshot, words)

    def _looked(self) -> None:
        """Somebody looks at another frame: what stands beside it is of that moment."""
        if self._seen is not None and self._open == NOW:
            self._beside(self._seen, self._clock())

    def _go_to(self, position: int) -> None:
        """Look at the frame at a place in the order of acquisition."""
        found = self.view.frame_at(position)
        if found is not None:
            self.frame.look_at(found)

    def _key(self, what: str) -> None:
        """A key that moves in time was pressed."""
        if what == "play":
            self.playback.toggle()
        elif what == "back":
            self.frame.step_back()
        elif what == "forward":
            self.frame.step_forward()
        elif what == "live":
            self.frame.live.active = True

    def look(self) -> None:
        """Pull where it is time to, or where a frame has come and none was brought for as long."""
        before = self._steady() - (TICK_MS - LOOK_MS / 2) / 1e3
        if self._ticked <= before or (self._framed <= before and self.view.frame_since(self._seen)):
            self.tick()

    def tick(self) -> None:
        """Pull: bring every component up to date, or do nothing where the record has nothing new."""
        snapshot, now = self.view.poll(), self._clock()
        self._ticked = self._steady()
        # What looked like a session to come may turn out to be a folder of sessions: then it is another page.
        elsewhere = not snapshot.exists and find_session(self.view.directory, None) is None
        self.pulse.update(snapshot, now, reload=elsewhere)  # silence is news too
        self.fraction.tick()
        self.asking.tick()
        self.particle.tick()
        self.refit.tick()
        part: object = self.tabs.get(self._open)
        if isinstance(part, Working):
            part.go_on(now)
        if snapshot is self._seen:
            return
        if self._seen is None or snapshot.newest != self._seen.newest:
            self._framed = self._ticked
        self._seen = snapshot
        self.frame.update(snapshot, now)
        self._beside(snapshot, now)
        self.alarms.update(snapshot, now)
        self.audit.update(snapshot)
        self.ledger.update(snapshot, now)


class Views:
    """The records that are open in this process, one each however many look at it, closed after the last."""

    def __init__(self) -> None:
        self._views: dict[Path, tuple[RecordView, int]] = {}
        self.files = FrameFiles()
        self.crops = Crops(self.files)
        self.answers = Answers()
        self.explaining = Explaining()
        self.making = asyncio.Semaphore(1)
        """Downloads are made one at a time: each takes a processor core, of which the session needs most."""

    def acquire(self, directory: Path) -> RecordView:
        view, users = self._views.get(directory) or (RecordView(directory), 0)
        self._views[directory] = view, users + 1
        return view

    def release(self, directory: Path) -> None:
        view, users = self._views.pop(directory)
        if users > 1:
            self._views[directory] = view, users - 1
        else:
            view.close()

    def __len__(self) -> int:
        return len(self._views)


def session_document(
    doc: Any,
    views: Views,
    directory: Path,
    *,
    name: str | None = None,
    clock: Clock = time.time,
    role: Role = Role.OPERATOR,
) -> None:
    """Fill a Document with the page of the session in `directory`."""
    page = SessionPage(
        views.acquire(directory), name=name, clock=clock, role=role, explaining=views.explaining
    )
    doc.on_session_destroyed(lambda _context: views.release(directory))
    source = page.pulse.source
    _furnish(doc, page.roots, "session.html", directory.name, role, name)
    show = CustomJS(name="pulse_show", args={"source": source}, code="faultwatch.pulse(source.data)")
    source.js_on_change("data", show)
    doc.js_on_event(DocumentReady, show)
    page.asking.on("look", lambda look: switch(doc, look))
    switch(doc, look_of(doc))
    doc.add_periodic_callback(page.look, LOOK_MS)


def look_of(doc: Any) -> str:
    """The look that a viewer chose, as the cookie says that the page's script set."""
    context = doc.session_context
    return DARK if context is None else str(context.request.cookies.get("faultwatch-look", DARK))


def list_document(doc: Any, directory: Path, *, clock: Clock = time.time) -> None:
    """Fill a Document with the list of the sessions in `directory`."""
    sessions = SessionList(directory)
    sessions.update(clock())
    sessions.clicks.on("look", lambda look: switch(doc, look))
    _furnish(doc, [sessions.comparison.root, sessions.root], "sessions.html", directory.name)
    doc.add_periodic_callback(lambda: sessions.update(clock()), LIST_TICK_MS)


def find_session(directory: Path, name: str | None) -> Path | None:
    """The session that a viewer asks for; None where that is not one of those in `directory`.

    A folder that holds neither a record nor sessions counts as a session that has yet to begin.
    """
    if name is not None:
        # Looked up, never joined: a name from a request can't lead out of the folder.
        return next((child for child in sessions_in(directory) if child.name == name), None)
    return None if not is_session(directory) and sessions_in(directory) else directory


def sessions_in(directory: Path) -> list[Path]:
    """The sessions directly under a folder."""
    try:
        return sorted(child for child in directory.iterdir() if child.is_dir() and is_session(child))
    except OSError:
        return []


def picture_address(kind: str, ending: str, name: str | None) -> str:
    """Where a browser finds pictures (`preview`, `crop`) of the session called `name` (None: the only one).

    Like every address on the page it is relative, for a reverse proxy may have the page under a path.
    """
    which = "" if name is None else f"&session={quote(name, safe='').replace('{', '%7B')}"
    return f"{kind}/{{id}}.{ending}?v={{stamp}}{which}"


def _furnish(
    doc: Any,
    roots: list[Any],
    template: str,
    title: str,
    role: Role = Role.OPERATOR,
    name: str | None = None,
) -> None:
    name_all(roots)
    with doc.models.freeze():  # the Document looks through its models once, not once a root
        for root in roots:
            doc.add_root(root)
    doc.theme = THEMES[DARK]
    doc.title = f"{title} · faultwatch"
    doc.template = _template(template)
    doc.template_variables.update(heading=title, tabs=TABS, role=str(role), name=name)
    doc.config.name, doc.config.notifications.name = "document_config", "document_notifications"
    # The page says by itself that the server is gone, and comes back whole from the record when it is back.
    doc.config.update(reconnect_session=False, notify_connection_status=False)
    doc.js_on_event(ConnectionLost, CustomJS(name="connection_lost", code="faultwatch.lost()"))


@cache
def _template(name: str) -> Template:
    # Bokeh hands ready-made HTML to the template, so it escapes by hand what is text (`| e`).
    return Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined).get_template(name)
