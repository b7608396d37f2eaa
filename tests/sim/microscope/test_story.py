"""Stories: what is ordered, what contradicts itself, and the truth that is written beside a session."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sim.microscope.layout import Planner, turned, turned_record, turned_vector
from sim.microscope.library import Library, load_library
from sim.microscope.play import take_frames
from sim.microscope.session_truth import SessionTruth, beside
from sim.microscope.story import (
    BeamLoss,
    FrozenFrame,
    OffFocus,
    StageMove,
    Story,
    StoryError,
    eventful,
    order,
    read_story,
)


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library()


@pytest.mark.parametrize("wanted", [0.0, 0.05, 0.2, 0.5, 1.0])
def test_the_ordered_fault_fraction_is_met(library: Library, wanted: float) -> None:
    story = Story(frames=12, frames_per_field=3, size=1024, seed=5, fault_fraction=wanted)
    classes = [library.classes[seat.entry] for plan in Planner(story, library).plan() for seat in plan.seats]
    yes, no = classes.count("yes"), classes.count("no")
    assert yes + no > 15
    assert yes == round(wanted * (yes + no))


def test_faulted_particles_are_spread_over_the_fields(library: Library) -> None:
    story = Story(frames=40, frames_per_field=2, size=1024, seed=2, fault_fraction=0.5)
    shares = []
    for plan in Planner(story, library).plan():
        classes = [library.classes[seat.entry] for seat in plan.seats]
        shown = classes.count("yes") + classes.count("no")
        shares.append(classes.count("yes") / shown if shown else 0.5)
    assert 0.1 < sum(s > 0.5 for s in shares) / len(shares) < 0.9


def test_ids_are_those_of_physical_particles(library: Library, tmp_path: Path) -> None:
    story = Story(frames=6, frames_per_field=3, size=768, seed=4, drift_nm=1.0, fault_fraction=0.4)
    with SessionTruth(tmp_path / "s.truth") as truth:
        for taken in take_frames(story, library, truth):
            truth.add(taken.truth(), taken.labels)
    folder = tmp_path / "s.truth"
    told = json.loads((folder / "story.json").read_text())
    particles = {p["id"]: p for p in json.loads((folder / "particles.json").read_text())}
    lines = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert [f["first"] for f in told["fields"]] == [0, 3]
    for line in lines:
        with Image.open(folder / "masks" / f"frame_{line['frame']:05d}.png") as picture:
            labels = np.asarray(picture)
        assert labels.shape == (768, 768)
        for p in line["particles"]:
            r0, c0, r1, c1 = p["bbox"]
            assert (labels[r0:r1, c0:c1] == p["label"]).sum() == (labels == p["label"]).sum() > 0
            physical = particles[p["id"]]
            assert physical["field"] == line["field"]
            assert p["stack"] == physical["record"]["stack"]
            assert physical["class"] in (p["class"], None) or p["class"] in ("null", None)
            if p["whole"]:
                place = [physical["place_nm"][a] + line["offset_nm"][a] for a in (0, 1)]
                apart = [p["centroid"][a] * line["pixel_size_nm"] - place[a] for a in (0, 1)]
                assert max(map(abs, apart)) < 0.6  # a mask's centroid and its particle's middle
    shown = [p for p in particles.values() if p["class"] in ("yes", "no")]
    assert told["fault_fraction"]["of"] == len(shown)
    assert told["fault_fraction"]["realised"] == sum(p["class"] == "yes" for p in shown) / len(shown)
    assert read_story(folder / "story.json") == json.loads(json.dumps(story.as_dict()))


def test_a_written_story_gives_the_same_session(library: Library, tmp_path: Path) -> None:
    story = order("eventful", fields=8, frames_per_field=4, size=256, seed=3)
    (tmp_path / "s.json").write_text(json.dumps({"story": story.as_dict()}))
    assert order(str(tmp_path / "s.json")) == story


def test_the_eventful_story_has_everything_once_and_in_reach() -> None:
    story = order("eventful", frames=200)
    kinds = [event.kind for event in story.events]
    assert len(set(kinds)) == len(kinds) - 1  # the dose goes down and comes back
    assert {"beam_loss", "off_focus", "charging", "frozen_frame", "blank_field"} <= set(kinds)
    for event in story.events:
        here = next(field for field in story.fields() if event.first in field)
        assert event.kind in story.active(event.first, here) or getattr(event, "factor", 0) == 1
    with pytest.raises(StoryError, match="at least 30 frames"):
        eventful(10, 2)


def test_fields_are_as_long_as_ordered() -> None:
    assert [len(f) for f in order(fields=4, frames_per_field=5).fields()] == [5, 5, 5, 5]
    assert [len(f) for f in order(fields=4, frames=12).fields()] == [3, 3, 3, 3]
    moved = Story(frames=10, frames_per_field=5, events=(StageMove(first=7),))
    assert [f.start for f in moved.fields()] == [0, 5, 7]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"fields": 3, "frames": 10}, "not the same number"),
        ({"fields": 3, "frames": 10, "frames_per_field": 5}, "15 frames, not 10"),
    ],
)
def test_contradictions_are_said(told: dict[str, int], said: str) -> None:
    with pytest.raises(StoryError, match=said):
        order(**told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "can't be read"),
        ("[1]", "no JSON object"),
        ('{"frames": 0}', "greater than or equal to 1"),
        ('{"colour": "red"}', "nexpected keyword"),
        ('{"events": [{"kind": "tea", "first": 1}]}', "tea"),
        ('{"frames": 5, "events": [{"kind": "beam_loss", "first": 3, "last": 9}]}', "ends with frame 4"),
        ('{"events": [{"kind": "off_focus", "first": 9, "last": 3}]}', "comes before"),
        ('{"events": [{"kind": "frozen_frame", "first": 0, "last": 3}]}', "no frame before"),
        ('{"fault_fraction": 1.5}', "less than or equal to 1"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "story.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        order(str(path))


def test_an_unknown_story_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="calm, drifting, eventful"):
        order("thrilling")


def test_a_stretch_grows_to_one_and_is_gone_after_it() -> None:
    event = OffFocus(first=3, last=6)
    assert [event.progress(f) for f in (2, 3, 6, 7)] == [0.0, 0.25, 1.0, 0.0]
    story = Story(frames=10, events=(BeamLoss(first=2, last=3), FrozenFrame(first=5, last=6)))
    assert [story.dose_factor(f) for f in (1, 2, 3, 4)] == [1, 0, 0, 1]
    assert [story.frozen_since(f) for f in (4, 5, 6, 7)] == [None, 4, 4, None]


def test_the_truth_lies_beside_a_folder_not_in_it(tmp_path: Path) -> None:
    assert beside(str(tmp_path / "frames")) == tmp_path / "frames.truth"
    assert beside("tcp://127.0.0.1:5555") is None


# -- turning ----------------------------------------------------------------------------------------------


@given(turns=st.integers(0, 7), mirrored=st.booleans(), row=st.integers(-9, 9), column=st.integers(-9, 9))
def test_vectors_turn_as_images_do(turns: int, mirrored: bool, row: int, column: int) -> None:
    image = np.zeros((19, 19))
    image[9 + row, 9 + column] = 1
    found = np.argwhere(turned(image, turns, mirrored))[0] - 9
    assert tuple(found) == turned_vector((row, column), turns, mirrored)


def test_everything_of_a_record_that_points_turns_along() -> None:
    record = {
        "stacking_rc": [1.0, 0.0],
        "lateral_rc": [0.0, 1.0],
        "weight": 0.5,
        "faults": [{"kind": "I1", "trace_rc": [0.3, 0.2]}],
    }
    told = turned_record(record, 1, False)
    assert told["stacking_rc"] == [0.0, 1.0]
    assert told["lateral_rc"] == [-1.0, 0.0]
    assert told["faults"][0]["trace_rc"] == [-0.2, 0.3]
    assert told["weight"] == 0.5
    back = turned_record(turned_record(record, 3, True), 3, True)
    assert back == record
