"""A session that is made of copies is one that its own program would have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.frames import FrameRef
from monitor.record import RecordReader, totals
from monitor.record.summary import summarise
from monitor.settings import WatchSettings
from monitor.studies import growth, scaling
from monitor.studies.growth import grow


def test_copies_balance_and_the_session_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "BLOCK", 12)
    grown = grow(tmp_path / "s", 36)
    for _ in range(4):
        grown.one_more()
    db = grown.record._db
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db.execute("SELECT count(*), max(position) FROM statistics").fetchone() == (40, 40)
    # Nothing was found amiss and settled again: the copies are still there.
    assert db.execute("SELECT count(DISTINCT corrected) FROM statistics").fetchone()[0] <= 12 + 4
    for name in ("totals_sizes", "totals_calls"):
        (kept,) = db.execute(f"SELECT sum(n) FROM {name}").fetchone()
        assert kept == db.execute(f"SELECT sum(n) FROM {totals.counted(name)}").fetchone()[0]
    grown.record.close()
    said = summarise(tmp_path / "s")
    assert said["ledger"]["analysed"] == 40
    assert sum(said["sightings"].values()) == 400
    assert said["fields"] == 10
    assert sum(said["tracks"].values()) == 100  # each particle of a field once
    with RecordReader(tmp_path / "s") as reader:
        last = reader.last_statistics()
        assert last is not None
        assert sum(last.counts) == 400


def test_a_session_whose_workers_answer_at_once_is_timed(tmp_path: Path) -> None:
    refs = [FrameRef(Path(f"/none/{i}"), 0, content=str(i), acquired=float(i)) for i in range(8)]
    assert scaling.session_s(refs, WatchSettings(workers=2)) > 0
