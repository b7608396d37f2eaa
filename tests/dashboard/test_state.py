"""The one word and the one sentence that tell how the session is."""

from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.snapshot import Figures, Ledger, Pace, Snapshot, SourceState
from dashboard.state import MARKS, quiet_after, state_of, status_text
from monitor.record.rows import AlarmRow

NOW = 1_760_000_000.0
NOTHING = Snapshot(1, 0, Path("sessions/tonight"))
BEGUN = replace(NOTHING, exists=True)
WATCHING = (SourceState("directory", "/data", "watching", NOW - 100, None),)
LOST = (*WATCHING, SourceState("pull", "tcp://x:1", "lost", NOW - 9, "no route to it"))
CLOSED = (SourceState("directory", "/data", "closed", NOW - 9, None),)
FAST = Pace(last_arrived=NOW, last_committed=NOW, analysed_per_s=2.0)


@pytest.mark.parametrize(
    ("word", "snapshot", "later"),
    [
        ("waiting", NOTHING, 0),
        ("waiting", replace(BEGUN, sources=WATCHING), 0),
        ("starting", replace(BEGUN, ledger=Ledger(queued=2), pace=Pace(last_arrived=NOW)), 30),
        ("stalled", replace(BEGUN, ledger=Ledger(queued=2), pace=Pace(last_arrived=NOW)), 61),
        ("live", replace(BEGUN, ledger=Ledger(5), pace=FAST), 9),
        ("quiet", replace(BEGUN, ledger=Ledger(5), pace=FAST), 11),
        ("live", replace(BEGUN, ledger=Ledger(5, 1), pace=FAST), 9),
        ("stalled", replace(BEGUN, ledger=Ledger(5, 1), pace=FAST), 11),
        # a frame that comes after an hour of nothing has not waited for an hour
        ("live", replace(BEGUN, ledger=Ledger(5, 1), pace=replace(FAST, last_committed=NOW - 3600)), 1),
        ("lost", replace(BEGUN, sources=LOST, ledger=Ledger(5), pace=FAST), 0),
        ("ended", replace(BEGUN, sources=CLOSED, ledger=Ledger(5), pace=FAST), 9999),
        ("live", replace(BEGUN, sources=CLOSED, ledger=Ledger(5, 3), pace=FAST), 1),
        ("unreadable", replace(BEGUN, problem="The record can't be read just now: disk I/O error."), 0),
    ],
)
def test_the_state_of_a_session(word: str, snapshot: Snapshot, later: float) -> None:
    assert state_of(snapshot, NOW + later).word == word


def test_every_state_has_a_shape_of_its_own_kind() -> None:
    assert len({MARKS[word] for word in ("live", "quiet", "lost", "ended", "waiting")}) == 5


def test_a_lost_source_is_named_with_its_message() -> None:
    sentence = state_of(replace(BEGUN, sources=LOST), NOW).sentence
    assert sentence.startswith("tcp://x:1 is lost since ")
    assert sentence.endswith(": no route to it.")


@pytest.mark.parametrize(("rate", "limit"), [(None, 30), (10.0, 10), (0.25, 20), (0.001, 120)])
def test_how_long_silence_goes_unremarked(rate: float | None, limit: float) -> None:
    assert quiet_after(Pace(analysed_per_s=rate)) == limit


def test_the_text_twin_says_what_the_page_shows() -> None:
    figures = Figures(5, NOW, (0, 1, 60, 40), 0.4, 0.42, 0.31, 0.53)
    snapshot = replace(BEGUN, ledger=Ledger(5, 1, 2, 0, lost=3), pace=FAST, figures=figures)
    text = status_text(snapshot, state_of(snapshot, NOW))
    assert "8 arrived = 5 analysed + 1 queued + 2 rejected + 0 dropped." in text
    assert "3 lost on the way." in text
    assert "42.0 % (95 % interval 31.0 % to 53.0 %) from 100 judged particles." in text
    only_counted = replace(snapshot, figures=replace(figures, corrected=None, low=None, high=None))
    assert "as counted 40.0 % of 100" in status_text(only_counted, state_of(only_counted, NOW))


def alarm(severity: str, *, acknowledged: float | None = None, until: float | None = None) -> AlarmRow:
    return AlarmRow(1, "beam lost", severity, "It is dark.", "Look.", 3, NOW, 4, 2, None, until, acknowledged)


@pytest.mark.parametrize(
    ("word", "alarms", "snapshot", "later"),
    [
        ("alarm", [alarm("warning"), alarm("critical")], replace(BEGUN, ledger=Ledger(5), pace=FAST), 0),
        ("alarm", [alarm("critical")], replace(BEGUN, ledger=Ledger(5, 1), pace=FAST), 11),  # stalled besides
        ("warning", [alarm("warning")], replace(BEGUN, ledger=Ledger(5), pace=FAST), 0),
        ("stalled", [alarm("warning")], replace(BEGUN, ledger=Ledger(5, 1), pace=FAST), 11),
        ("live", [alarm("notice")], replace(BEGUN, ledger=Ledger(5), pace=FAST), 0),
        ("live", [alarm("critical", acknowledged=NOW)], replace(BEGUN, ledger=Ledger(5), pace=FAST), 0),
        ("live", [alarm("critical", until=NOW)], replace(BEGUN, ledger=Ledger(5), pace=FAST), 0),
        ("lost", [alarm("critical")], replace(BEGUN, sources=LOST, ledger=Ledger(5), pace=FAST), 0),
        ("ended", [alarm("critical")], replace(BEGUN, sources=CLOSED, ledger=Ledger(5), pace=FAST), 0),
    ],
)
def test_alarms_turn_the_state(word: str, alarms: list[AlarmRow], snapshot: Snapshot, later: float) -> None:
    state = state_of(replace(snapshot, alarms=tuple(alarms)), NOW + later)
    assert state.word == word
    if word in ("alarm", "warning"):
        assert state.sentence.startswith("Beam lost since ")
        assert "It is dark." in state.sentence
        assert ("1 more alarm." in state.sentence) == (len(alarms) == 2)
