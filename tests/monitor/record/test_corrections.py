"""What an operator corrected in a session, as the forest learns from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.results import CLASSES
from monitor.errors import InputError, NoSession
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import DATABASE, RecordWriter
from monitor.record.corrections import CORRECT, Correction, read_corrections

Finished = Callable[..., FinishedFrame]
Command = tuple[str, str, int | None]


@pytest.fixture
def session(record: RecordWriter, finished: Finished) -> Path:
    """Three frames of two particles; the second was taken last. A particle's features tell its frame and label."""
    for number, acquired in ((1, 10.0), (2, 30.0), (3, 20.0)):
        record.take(1, FrameRef(Path(f"/{number}"), 0, content=str(number), acquired=acquired), at=acquired)
        done = finished("yes", "no")
        particles = tuple(
            replace(
                p,
                features={
                    "b": float(p.label),
                    "a": float(number),
                    **({"place": 3.0} if p.label == 1 else {}),
                },
            )
            for p in done.analysis.particles
        )
        done = replace(done, analysis=replace(done.analysis, particles=particles))
        record.finish(number, record.frame(number).revision, done, lambda: 40.0)
    return record.folder


def command(session: Path, *given: Command) -> None:
    """Write rows of commands as the page does: name, arguments, what the session answered."""
    db = sqlite3.connect(session / DATABASE)
    db.execute(
        "CREATE TABLE IF NOT EXISTS commands "
        "(id INTEGER PRIMARY KEY, at REAL NOT NULL, name TEXT NOT NULL, arguments TEXT NOT NULL, accepted INTEGER)"
    )
    db.executemany("INSERT INTO commands (at, name, arguments, accepted) VALUES (0, ?, ?, ?)", given)
    db.commit()
    db.close()


def correct(frame: int, label: int, name: str | None, accepted: int | None = 1) -> Command:
    return CORRECT, Correction(frame=frame, label=label, particle_class=name).arguments(), accepted


def test_corrections_come_in_order_of_acquisition_with_their_features(session: Path) -> None:
    command(session, correct(2, 1, "no"), correct(1, 2, "yes"), correct(3, 2, "empty", None))
    found = read_corrections(session)
    assert found.names == ["a", "b"]  # what only some particles have is no feature
    np.testing.assert_array_equal(found.features, [[1, 2], [3, 2], [2, 1]])
    assert [CLASSES[i] for i in found.classes] == ["yes", "empty", "no"]
    assert found.groups.tolist() == ["1", "3", "2"]
    assert found.source == session.name


def test_the_last_correction_of_a_particle_holds(session: Path) -> None:
    command(
        session,
        correct(1, 1, "no"),
        correct(1, 1, "null"),
        correct(2, 1, "no"),
        correct(2, 1, None),  # taken back
        correct(3, 1, "no"),
        correct(3, 1, "empty", 0),  # refused
        correct(9, 1, "no"),  # no such frame
        ("acknowledge", '{"alarm": 3}', 1),
    )
    found = read_corrections(session)
    assert found.groups.tolist() == ["1", "3"]
    assert [CLASSES[i] for i in found.classes] == ["null", "no"]


def test_a_session_without_corrections_says_so(session: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no corrections"):
        read_corrections(session)
    command(session)
    with pytest.raises(InputError, match="holds no corrections"):
        read_corrections(session)
    with pytest.raises(NoSession):
        read_corrections(tmp_path / "nothing")


@pytest.mark.parametrize(
    "arguments",
    [
        "{",
        "[1]",
        '{"frame": 1, "label": 1}',
        '{"frame": 1, "label": 1, "class": "maybe"}',
        '{"frame": 1, "label": 0, "class": "no"}',
        '{"frame": 1, "label": 1, "class": "no", "by": "me"}',
    ],
)
def test_what_is_no_correction_is_told_with_its_number(session: Path, arguments: str) -> None:
    command(session, correct(1, 1, "no"), (CORRECT, arguments, None))
    with pytest.raises(InputError, match=r"command 2 of .* is no correction"):
        read_corrections(session)
