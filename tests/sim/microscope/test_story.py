"""Stories: what is ordered, what contradicts itself, and the truth that is written beside a session."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sim.microscope.layout import Planner, faulted_of, turned, turned_record, turned_vector
from sim.microscope.library import Library, load_library
from sim.microscope.play import take_frames
from sim.microscope.session_truth import SessionTruth, beside, particles_of, story_of
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
    story = Story(frames=12, frames_per_field=3, size=1024, seed=5, fault_fraction=wanted, null_share=0.2)
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


@pytest.mark.parametrize("wanted", [0.05, 0.2])
def test_fields_differ_by_the_ordered_correlation(wanted: float) -> None:
    """The analysis-of-variance estimate over many fields of unlike size, within three of its standard errors."""
    rng, count, sessions = np.random.default_rng(0), 60, []
    for seed in range(60):
        sizes = np.random.default_rng([1, seed]).integers(2, 10, count)
        fields = np.repeat(np.arange(count), sizes)
        story = Story(seed=seed, fault_fraction=0.3, field_icc=wanted)
        sessions.append(correlation_within(faulted_of(story, fields.tolist(), rng), fields))
    error = np.std(sessions, ddof=1) / len(sessions) ** 0.5
    assert np.mean(sessions) == pytest.approx(wanted, abs=3 * error)
    assert error < wanted / 5 + 0.002


def correlation_within(faulted: npt.NDArray[np.bool_], fields: npt.NDArray[np.int64]) -> float:
    """Intra-class correlation by one-way analysis of variance (Fleiss, Levin and Paik, ch. 15)."""
    n = np.bincount(fields).astype(float)
    share = np.bincount(fields, faulted) / n
    between = (n * (share - faulted.mean()) ** 2).sum() / (len(n) - 1)
    within = (n * share * (1 - share)).sum() / (n.sum() - len(n))
    size = (n.sum() - (n**2).sum() / n.sum()) / (len(n) - 1)
    return float((between - within) / (between + (size - 1) * within))


def test_the_particles_of_a_session_are_correlated_as_ordered(library: Library) -> None:
    def correlation(wanted: float) -> float:
        story = Story(frames=300, seed=4, fault_fraction=0.4, field_icc=wanted, null_share=0.0)
        told = [
            (plan.number, library.classes[seat.entry] == "yes")
            for plan in Planner(story, library).plan()
            for seat in plan.seats
            if library.classes[seat.entry] in ("yes", "no")
        ]
        fields, faulted = np.array(told, dtype=np.int64).T
        return correlation_within(faulted == 1, fields)

    assert correlation(0.4) == pytest.approx(0.4, abs=0.12)
    assert correlation(0.0) == pytest.approx(0.0, abs=0.08)


def test_without_correlation_the_count_is_exact_and_with_it_met_on_average() -> None:
    rng, fields = np.random.default_rng(1), np.repeat(np.arange(50), 6).tolist()
    exact = faulted_of(Story(fault_fraction=0.2), fields, rng)
    assert exact.sum() == 60
    several = [faulted_of(Story(fault_fraction=0.2, field_icc=0.1), fields, rng).mean() for _ in range(100)]
    assert np.mean(several) == pytest.approx(0.2, abs=0.012)
    assert np.std(several) > 0.02


def test_null_comes_as_often_as_in_the_library_unless_ordered(library: Library) -> None:
    def share(**told: object) -> float:
        plans = Planner(Story(frames=60, seed=3, **told), library).plan()  # type: ignore[arg-type]
        classes = [library.classes[seat.entry] for plan in plans for seat in plan.seats]
        return classes.count("null") / len(classes)

    cdse = [
        name
        for name, particle in zip(library.classes, library.particles, strict=True)
        if particle.material.startswith("CdSe")
    ]
    assert share() == pytest.approx(cdse.count("null") / len(cdse), abs=0.08)
    assert share(null_share=0.9) == pytest.approx(0.9, abs=0.05)
    assert share(null_share=0.0) == 0.0


def test_stacking_faults_alone_leave_twins_out(library: Library) -> None:
    """Twins are common in gold: they are `yes` among planar faults and `no` among stacking faults."""
    told = {}
    for kinds in ("planar", "stacking"):
        story = Story(frames=30, seed=3, materials=("Au",), kinds=kinds, fault_fraction=0.5)
        plans = Planner(story, library).plan()
        particles = particles_of(library, plans, kinds)
        told[kinds] = story_of(story, library, plans, particles)
        for particle in particles:
            families = {fault["family"] for fault in particle["record"]["faults"]}
            if particle["class"] in ("yes", "no"):
                holds = "stacking fault" in families if kinds == "stacking" else bool(families)
                assert particle["class"] == ("yes" if holds else "no")
        assert told[kinds]["fault_fraction"]["realised"] == pytest.approx(0.5, abs=0.01)
        assert told[kinds]["fault_fraction"]["kinds"] == kinds
        resolved = [p for p in particles if p["class"] in ("yes", "no")]
        for kind, count in told[kinds]["faults"]["by_kind"].items():
            held = [p for p in resolved if kind in {f["kind"] for f in p["record"]["faults"]}]
            assert count == len(held) > 0
        assert sum(f["of"] for f in told[kinds]["fields"]) == len(resolved)
    assert (
        told["stacking"]["faults"]["by_family"]["stacking fault"] == told["stacking"]["fault_fraction"]["yes"]
    )


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
        ('{"field_icc": 1}', "less than 1"),
        ('{"stobbs": [2, 1.5]}', "ends at 1.5, before it begins at 2"),
        ('{"carbon_nm": 40}', "less than or equal to 12"),
        ('{"kinds": "twins"}', "planar"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "story.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        order(str(path))


def test_a_number_stands_for_a_range(tmp_path: Path) -> None:
    path = tmp_path / "story.json"
    path.write_text('{"stobbs": 2, "carbon_nm": [3, 8], "energy_kev": 200, "corrected": false}')
    story = order(str(path))
    assert (story.stobbs, story.carbon_nm) == ((2.0, 2.0), (3.0, 8.0))
    path.write_text(json.dumps(story.as_dict()))
    assert order(str(path)) == story


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
