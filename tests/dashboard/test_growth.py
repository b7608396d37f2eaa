"""The command that measures long sessions, on short ones."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dashboard import running
from dashboard.growth import _open, main, table
from dashboard.view import RecordView
from monitor.record import RecordReader, strata
from monitor.record.standing import standing
from monitor.record.summary import summary_of
from monitor.studies import growth


def test_a_row_for_everything_that_is_to_be_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(growth, "BLOCK", 8)
    assert main(["--frames", "8", "24", "--probes", "2", "--rounds", "1", "--folder", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "24 frames, 240 particles" in said
    rows = re.findall(r"^\| (.+) \| [\d.]+ \| [\d.]+ \| [\d.]+ \| (.*) \|$", said, flags=re.MULTILINE)
    each = [f"{name}, {of}" for name in ("commit", "settle", "snapshot") for of in ("median", "p95")]
    once = ["summary, median", "goal, median", "export, of a frame"]
    assert [name for name, _ in rows] == 2 * ["opening, median", *each, *once]
    assert {verdict for _, verdict in rows} <= {"", "met", "**not met**"}
    assert not list(tmp_path.iterdir())


def test_a_figure_is_flat_up_to_the_bar() -> None:
    short = {name: [(0.010, 0.010)] for name in ("opening", "commit", "summary", "export")}
    long = {
        "opening": [(1.0, 1.0)],
        "commit": [(0.0119, 0.02)],
        "summary": [(0.0121, 0.01)],
        "export": [(0.01, 0.01)],
    }
    verdicts = [
        [line.split(" | ")[-1].rstrip(" |") for line in table([short, long], [10, 100], kind)[2:]]
        for kind in (0, 1)
    ]
    assert verdicts[0] == ["", "met", "met", "**not met**", "met"]
    assert verdicts[1] == ["", "**not met**", "**not met**", "met", "met"]


class Steps:
    """Counts what SQLite does on a connection, in tens of steps of its virtual machine: the same on any machine."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.count = 0
        db.set_progress_handler(self._step, 10)

    def _step(self) -> int:
        self.count += 1
        return 0

    def of(self, what: Callable[[], object]) -> int:
        before = self.count
        what()
        return self.count - before


def test_a_session_of_eight_times_the_length_costs_the_same_a_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have more fields than have rows of their own in a summary, and more frames than the pace is taken over."""
    monkeypatch.setattr(growth, "BLOCK", 48)
    monkeypatch.setattr(strata, "MOST_FIELDS", 10)
    monkeypatch.setattr(running, "PACE_FRAMES", 40)
    found: list[list[float]] = []
    for blocks in (1, 8):
        grown = growth.grow(tmp_path / str(blocks), blocks * 48)
        view = RecordView(tmp_path / str(blocks))
        view.poll()
        with RecordReader(tmp_path / str(blocks)) as reader:
            writing, reading, page = Steps(grown.record._db), Steps(reader._db), Steps(_open(view))
            frames = []
            for _ in range(8):
                frames.append((writing.of(grown.one_more), page.of(view.poll)))
            commits, polls = np.median(frames, axis=0)
            found.append(
                [
                    commits,
                    polls,
                    reading.of(partial(summary_of, reader)),
                    reading.of(partial(standing, reader._db)),
                ]
            )
        view.close()
        grown.record.close()
    ratios = dict(
        zip(("commit", "snapshot", "summary", "standing"), np.array(found[1]) / found[0], strict=True)
    )
    assert all(ratio <= 1.2 for ratio in ratios.values()), ratios
