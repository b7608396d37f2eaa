"""The check of the alarms: what counts as in time and as false, and the stories that it plays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.bundle import load_bundle
from sim.checks.alarms import EXPECTED, Score, add, states
from sim.checks.staged import Played, kept, played, staged_story
from sim.microscope.library import load_library
from sim.microscope.story import BeamLoss, Story

GOOD: dict[str, Any] = {
    "verdict": "ok",
    "mean_counts": 500.0,
    "noise_power": 8000.0,
    "signal": 0.6,
    "information_limit_per_nm": 7.5,
    "sharpness_per_nm": 5.0,
    "illumination_range": 0.10,
    "covered": 0.1,
}


def frames(number: int, **about: Any) -> list[Played]:
    plain = Played(0, 0, GOOD, {"no": 3}, 0.3, False, False, 0.025, (), {})
    return [replace(plain, frame=n, field=n // 4, new_field=n % 4 == 0, **about) for n in range(number)]


def with_dark(course: list[Played], dark: range, staged: range) -> list[Played]:
    """Frames that are dark, and frames in which that is said to be staged."""
    changed = []
    for each in course:
        quality = {**GOOD, "noise_power": 10.0} if each.frame in dark else GOOD
        changed.append(replace(each, quality=quality, events=("beam_loss",) if each.frame in staged else ()))
    return changed


@pytest.mark.parametrize(
    ("dark", "in_time", "late"),
    [(range(20, 26), 1, 0), (range(22, 26), 1, 0), (range(23, 26), 0, 1), (range(0), 0, 0)],
)
def test_within_three_frames_is_in_time(dark: range, in_time: int, late: int) -> None:
    score = Score()
    add(score, with_dark(frames(40), dark, range(20, 26)), "story")
    assert (score.staged["beam_loss"], score.in_time["beam_loss"], score.late["beam_loss"]) == (
        1,
        in_time,
        late,
    )
    assert score.false == []
    assert score.good == 34
    assert score.spoilt_not_counted["beam_loss"] == len(dark)


def test_an_alarm_without_an_event_is_false() -> None:
    score = Score()
    add(score, with_dark(frames(40), range(30, 31), range(0)), "story 7")
    assert len(score.false) == 1
    assert score.false[0].startswith("story 7, frame 30: beam lost")
    assert score.good_not_counted == 1
    assert "1 false alarms, 25.0 in 1,000 frames" in score.table()


def test_every_story_has_every_event_once_after_good_frames() -> None:
    for seed in range(30):
        story = staged_story(seed)
        kinds = [event.kind for event in story.events if event.kind != "dose_change"]
        assert sorted({*kinds, "dose_change"}) == sorted(EXPECTED)
        assert len(kinds) == len(EXPECTED) - 1
        assert min(event.first for event in story.events) >= 10
    assert staged_story(3) == staged_story(3) != staged_story(4)


@pytest.mark.slow
def test_a_beam_loss_is_played_analysed_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(frames=8, size=384, seed=2, frames_per_field=4, events=(BeamLoss(first=5, last=6),))
    course = list(states(played(story, load_library(), load_bundle(device="cpu"))))
    assert [each.frame for each, state in course if "beam lost" in state.raised] == [5, 6]
    assert [each.drift_nm is None for each, _ in course] == [n % 4 == 0 for n in range(8)]

    monkeypatch.setattr("sim.checks.staged.staged_story", lambda seed, size: story)
    ((_, first),), ((_, again),) = list(kept(tmp_path, range(1))), list(kept(tmp_path, range(1)))
    assert first == again
    assert [each.frame for each in first] == list(range(8))
