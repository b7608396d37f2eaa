"""The fault-injection suite of `make faults` in its short form: kills, lost frames, a clock that jumps, a soak.

Real processes, files and sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.record import is_session
from tests.faults import clock, folders, plain, removed, soak
from tests.faults.base import Context, Finding
from tests.faults.kills import Siege
from tests.faults.process import Monitor
from tests.faults.scene import Scene, Skipped

pytestmark = pytest.mark.slow


def good(finding: Finding) -> Finding:
    """Nothing of it went wrong, and something was tried."""
    assert not finding.failures
    assert (finding.lost, finding.doubled, finding.unbalanced) == (0, 0, 0)
    assert finding.tries > 0
    return finding


@pytest.mark.parametrize("kind", ["directory", "ack"])
def test_a_session_that_is_killed_loses_nothing_and_counts_nothing_twice(kind: str, tmp_path: Path) -> None:
    siege, finding = Siege(tmp_path, kind, 5), Finding(kind)
    siege.lay(4)
    siege.report(finding)
    assert good(finding).tries == 4
    assert finding.figures["frames"] > 4


@pytest.mark.parametrize("scheme", ["tcp", "sub"])
def test_over_plain_sockets_what_a_kill_loses_is_counted(scheme: str, tmp_path: Path) -> None:
    finding = Finding(scheme)
    plain.play(Context(tmp_path), scheme, 1, finding)
    figures = good(finding).figures
    assert figures["sent"] == figures["arrived"] + figures["counted_as_lost"]


def test_a_clock_that_jumps_changes_no_count_and_no_order(tmp_path: Path) -> None:
    finding = Finding("clock")
    clock.play(tmp_path, "ack", 1, finding, (6.0, -12.0))
    assert good(finding).tries == 2


@pytest.mark.parametrize("play", [removed.folder_deleted, removed.folder_moved])
def test_a_record_that_is_taken_away_is_put_back_or_waited_for(
    play: Callable[[Scene], None], tmp_path: Path
) -> None:
    play(Scene(tmp_path, stall_s=12.0))


def test_what_rsync_copies_is_taken_once(tmp_path: Path) -> None:
    try:
        folders.rsync(Scene(tmp_path, stall_s=6.0))
    except Skipped as reason:
        pytest.skip(str(reason))


def test_a_long_session_does_not_grow(tmp_path: Path) -> None:
    finding = Finding("soak")
    soak.soak(tmp_path, Context(tmp_path), finding, 300, real=False)
    assert good(finding).tries == 300
    assert min(finding.figures["resident_mib"]) > 0


def test_a_second_monitor_on_the_same_session_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with Monitor(tmp_path / "s", tmp_path / "in") as first:
        first.wait(lambda: is_session(tmp_path / "s"), "the record")
        with Monitor(tmp_path / "s", tmp_path / "in", output=tmp_path / "second.txt") as second:
            assert second.process.wait(60) == 1
            assert "is being written by process" in second.said()
