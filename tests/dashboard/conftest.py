"""A record that grows as a live session's would, written row by row from the schema."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dashboard.server import DashboardServer
from models.results import CLASSES
from monitor.record.commands import carry_out
from monitor.statistics.fraction import fraction, rates_of

BUNDLE = "cdse-test-1"
RATES = {"sensitivity": [92, 100], "specificity": [97, 100]}
PIXEL_NM = 0.03
SIDE = 400


@dataclass(frozen=True)
class MadeParticle:
    """A disc on a made frame: centre and radius in pixels of a frame of 400 x 400."""

    particle_class: str
    row: float = 200.0
    col: float = 200.0
    radius: float = 40.0
    abstained: bool = False


def lattice(particles: Sequence[MadeParticle], side: int = SIDE) -> bytes:
    """A JPEG of noise with lattice fringes where the particles are; bright in its top left corner."""
    rng = np.random.default_rng(len(particles))
    rows, cols = np.mgrid[:side, :side]
    image = 110 + 18 * rng.standard_normal((side, side))
    for number, particle in enumerate(particles):
        inside = (rows - particle.row) ** 2 + (cols - particle.col) ** 2 < particle.radius**2
        angle = 0.7 * number
        image += inside * (38 * np.cos(0.62 * (rows * np.cos(angle) + cols * np.sin(angle))) - 22)
    image[: side // 8, : side // 8] = 250
    file = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


class MadeSession:
    """The session's side of a record: what the monitor would write, as far as the page can see it."""

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.clock = clock
        self.db = sqlite3.connect(directory / "session.sqlite", isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.counts = [0, 0, 0, 0]
        self.position = 0

    def begin(self, *, rates: dict[str, list[int]] | None = RATES, version: int = 1) -> MadeSession:
        schema = resources.files("monitor.record").joinpath("schema.sql").read_text(encoding="utf-8")
        self.db.executescript(f"BEGIN; {schema}; PRAGMA user_version = {version}; COMMIT;")
        self.rates = {} if rates is None else {"rates": rates}
        self.db.execute(
            "INSERT INTO bundles VALUES (?, ?, ?)", (BUNDLE, "bundles/test", json.dumps(self.rates))
        )
        self.db.execute("INSERT INTO meta VALUES ('bundle', ?), ('material', 'CdSe')", (BUNDLE,))
        self.source = self.add_source("directory", "/data/session")
        return self

    def add_source(self, kind: str, address: str) -> int:
        cursor = self.db.execute(
            "INSERT INTO sources (kind, address, state, since) VALUES (?, ?, 'watching', ?)",
            (kind, address, self.clock()),
        )
        return int(cursor.lastrowid or 0)

    def set_sources(self, state: str, message: str | None = None, **counts: int) -> None:
        self.db.execute(
            "UPDATE sources SET state = ?, message = ?, since = ?", (state, message, self.clock())
        )
        for name, value in counts.items():
            self.db.execute(f"UPDATE sources SET {name} = ?", (value,))

    def arrive(self, path: str | bytes | None = None, *, acquired: float | None = None) -> int:
        name = path or f"/data/session/img_{self.clock():.3f}_{np.random.default_rng().integers(10**9)}.tif"
        cursor = self.db.execute(
            "INSERT INTO frames (source_id, path, item, acquired, arrived, metadata, state)"
            " VALUES (?, ?, 0, ?, ?, '{}', 'queued')",
            (self.source, name, acquired, self.clock()),
        )
        return int(cursor.lastrowid or 0)

    def refuse(self, frame_id: int, reason: str, state: str = "rejected") -> None:
        self.db.execute("UPDATE frames SET state = ?, reason = ? WHERE id = ?", (state, reason, frame_id))

    def finish(
        self,
        frame_id: int,
        particles: Sequence[MadeParticle] = (),
        *,
        quality: dict[str, Any] | None = None,
        preview: bool = True,
        latency_ms: float = 400.0,
        settle: bool = True,
    ) -> int:
        """Commit a result, and the running figures after it."""
        now = self.clock()
        self.db.execute("BEGIN")
        self.db.execute("UPDATE frames SET state = 'analysed', reason = NULL WHERE id = ?", (frame_id,))
        self.db.execute(
            "INSERT INTO results VALUES (?, ?, 'onnxruntime-cpu', ?, ?, ?, ?, '{}', ?, ?, ?, ?, NULL, NULL)",
            (
                frame_id, BUNDLE, SIDE, SIDE, PIXEL_NM, json.dumps(quality or {}), now, now, latency_ms,
                lattice(particles) if preview else None,
            ),
        )  # fmt: skip
        for label, particle in enumerate(particles, 1):
            self._add_particle(frame_id, label, particle)
        if settle:
            self._settle(frame_id, particles)
        self.db.execute("COMMIT")
        return frame_id

    def analysed(self, *classes: str, **options: Any) -> int:
        """A frame that arrives and is done, with discs of these classes side by side."""
        particles = [
            MadeParticle(name, 70 + 120 * (i // 3), 80 + 120 * (i % 3), 35 + 3 * i)
            for i, name in enumerate(classes)
        ]
        return self.finish(self.arrive(), particles, **options)

    def _add_particle(self, frame_id: int, label: int, particle: MadeParticle) -> None:
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        outline = np.column_stack(
            (particle.row + particle.radius * np.sin(turn), particle.col + particle.radius * np.cos(turn))
        )
        p = np.full(4, 0.05)
        p[CLASSES.index(particle.particle_class)] = 0.85
        r0, c0 = int(particle.row - particle.radius), int(particle.col - particle.radius)
        r1, c1 = int(particle.row + particle.radius), int(particle.col + particle.radius)
        diameter = 2 * particle.radius * PIXEL_NM
        self.db.execute(
            "INSERT INTO particles (frame_id, label, class, p_empty, p_null, p_no, p_yes, abstained, row0,"
            " col0, row1, col1, centroid_row, centroid_col, diameter_nm, area_nm2, outline, features)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '{}')",
            (
                frame_id, label, particle.particle_class, *p, particle.abstained, r0, c0, r1, c1,
                particle.row, particle.col, diameter, np.pi / 4 * diameter**2,
                json.dumps(outline.round(2).tolist()),
            ),
        )  # fmt: skip

    def _settle(self, frame_id: int, particles: Sequence[MadeParticle]) -> None:
        self.position += 1
        for particle in particles:
            self.counts[CLASSES.index(particle.particle_class)] += 1
        now = fraction(self.counts[3], self.counts[2], rates_of(self.rates))
        low, high = now.interval or (None, None)
        self.db.execute(
            "INSERT INTO statistics (frame_id, position, at, n_empty, n_null, n_no, n_yes, counted, corrected,"
            " low, high, t_empty, t_null, t_no, t_yes, effective, always_low, always_high, labels)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (
                frame_id, self.position, self.clock(), *self.counts, now.counted, now.corrected, low, high,
                *self.counts, self.counts[2] + self.counts[3],
                low and low / 2, high and (1 + high) / 2,
            ),
        )  # fmt: skip

    def place(
        self, frame_id: int, field: int = 1, *, drift_nm: float | None = None, uncounted: str | None = None
    ) -> None:
        """Settle where a frame lies, and follow each of its particles as one of its own."""
        self.db.execute(
            "INSERT INTO places VALUES (?, ?, 1, 0, 0, ?, 'correlation', ?)",
            (frame_id, field, drift_nm, uncounted),
        )
        self.db.execute("UPDATE particles SET track = id WHERE frame_id = ?", (frame_id,))
        self.db.execute(
            "INSERT INTO tracks SELECT id, ?, 1, class, p_empty, p_null, p_no, p_yes, 1, ?, frame_id, frame_id,"
            " diameter_nm, 1, 0.8, 0, 0 FROM particles WHERE frame_id = ?",
            (field, int(uncounted is None), frame_id),
        )

    def alarm(
        self, kind: str, severity: str = "warning", *, cause: str = "It is so.", until: float | None = None
    ) -> int:
        cursor = self.db.execute(
            "INSERT INTO alarms (kind, severity, cause, action, since_frame, since, last_frame, frames, until)"
            " VALUES (?, ?, ?, 'Mend it.', 3, ?, 5, 3, ?)",
            (kind, severity, cause, self.clock(), until),
        )
        return int(cursor.lastrowid or 0)

    def carry_out(self) -> list[str]:
        """Answer what was asked, as a session that runs does."""
        self.db.execute("BEGIN")
        done = carry_out(self.db, self.clock())
        self.db.execute("COMMIT")
        return done

    def asked(self) -> list[tuple[Any, ...]]:
        """Every command: its name, its arguments, whether it was accepted."""
        return [
            (name, json.loads(arguments), accepted)
            for name, arguments, accepted in self.db.execute(
                "SELECT name, arguments, accepted FROM commands ORDER BY id"
            )
        ]


class Hands:
    """A clock that is set by hand."""

    def __init__(self, now: float = 1_760_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def made(tmp_path: Path, clock: Hands) -> Iterator[MadeSession]:
    """A session whose record does not have its tables yet; `begin` makes them."""
    session = MadeSession(tmp_path / "2025-10-09-first", clock)
    yield session
    session.db.close()


@pytest.fixture
def session(made: MadeSession) -> MadeSession:
    """A session that has begun and has no frames yet."""
    return made.begin()


@contextmanager
def running_server(directory: Path, *, port: int = 0, **options: Any) -> Iterator[DashboardServer]:
    """The server on a loop of its own in another thread."""
    started: list[DashboardServer | BaseException] = []
    ready, stop = threading.Event(), None
    loop: asyncio.AbstractEventLoop | None = None

    async def main() -> None:
        nonlocal loop, stop
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = DashboardServer(directory, port=port, **options)
        except BaseException as error:
            started.append(error)
            ready.set()
            return
        server.start()
        started.append(server)
        ready.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    try:
        assert ready.wait(30)
        if isinstance(started[0], BaseException):
            raise started[0]
        yield started[0]
    finally:
        if loop is not None and stop is not None and thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def serving() -> Callable[..., Any]:
    return running_server


@pytest.fixture
def make_session(clock: Hands) -> Iterator[Callable[[Path], MadeSession]]:
    """Begin a session in a folder of one's choice."""
    sessions: list[MadeSession] = []

    def make(directory: Path, at: Callable[[], float] = clock) -> MadeSession:
        sessions.append(MadeSession(directory, at).begin())
        return sessions[-1]

    yield make
    for session in sessions:
        session.db.close()


@pytest.fixture
def particle() -> type[MadeParticle]:
    return MadeParticle


_CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium, where Playwright is installed."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=_CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of a common screen's size that fails the test for anything said in anger."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(15_000)
    page.complaints = complaints  # for the one test that provokes some
    yield page
    seen = list(complaints)  # what a page that is being closed says reaches nobody
    context.close()
    assert seen == []


@pytest.fixture
def live(make_session: Callable[..., MadeSession], tmp_path: Path) -> MadeSession:
    """A session whose clock is the real one, as the page's seconds are."""
    session = make_session(tmp_path / "tonight", at=time.time)
    session.analysed("yes", "no", "no", "null")
    return session
