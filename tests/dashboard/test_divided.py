"""The fraction by size and by field is what `summary` says."""

import json
import math
import threading

import numpy as np
import pytest

from dashboard.divided import Divided, Divider, FieldMap, divide
from monitor.errors import NoSession
from monitor.record.summary import summarise


@pytest.fixture
def session(made, clock, particle):
    """Three fields of two frames, with particles of several sizes; two fields have a stage position."""
    session = made.begin(version=4)
    for number in range(6):
        clock.now += 1
        particles = [particle("yes", 100, 100, 30 + 15 * number), particle("no", 300, 300, 40)]
        frame = session.finish(session.arrive(), particles)
        session.place(frame, 1 + 2 * (number // 2))
    told = json.dumps({"stage_x_um": 12.5, "stage_y_um": -3.0})
    session.db.execute("UPDATE frames SET metadata = ? WHERE id < 5", (told,))
    return session


def test_the_figures_are_those_of_the_summary(session) -> None:
    found, said = divide(session.directory), summarise(session.directory)
    assert len(found.sizes) == len(said["by_size"]) > 1
    for ((low, high), one), row in zip(found.sizes, said["by_size"], strict=True):
        assert (low, None if math.isinf(high) else high) == (row["from_nm"], row["to_nm"])
        assert list(one.tracks) == list(row["tracks"].values())
        assert one.estimate.counted == row["counted"]
        assert one.estimate.corrected == row["corrected"]
    assert [one.key for one in found.fields] == [row["field"] for row in said["by_field"]] == [1, 3, 5]
    for one, row in zip(found.fields, said["by_field"], strict=True):
        assert one.estimate.corrected == row["corrected"]
        assert (None if one.estimate.interval is None else list(one.estimate.interval)) == row["interval"]


def test_the_map_holds_the_fields_with_a_position(session) -> None:
    where = divide(session.directory).map
    assert sorted(where.field.tolist()) == [1, 3]
    assert where.unknown == 1
    assert set(where.x_um) == {12.5}
    assert set(where.y_um) == {-3.0}
    assert where.yes.tolist() == [2, 2]
    assert where.judged.tolist() == [4, 4]


def test_metadata_that_are_no_object_have_no_position(session) -> None:
    session.db.execute("UPDATE frames SET metadata = CASE id % 2 WHEN 0 THEN NULL ELSE '[1' END")
    assert divide(session.directory).map.unknown == 3


def test_no_record(tmp_path) -> None:
    with pytest.raises(NoSession):
        divide(tmp_path)


class Work:
    """Work that lasts until it may end."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.times = 0

    def __call__(self, _directory) -> Divided:
        self.times += 1
        self.may_end.wait(30)
        return Divided((), (), FieldMap(*(np.empty(0) for _ in range(5)), 0))


def test_it_works_beside_and_seldom(tmp_path) -> None:
    now, work = [100.0], Work()
    divider = Divider(tmp_path, work, timer=lambda: now[0])
    divider.ask("a")
    assert divider.working
    divider.ask("b")  # one at a time
    now[0] += 2
    work.may_end.set()
    divider.wait(30)
    assert not divider.working
    assert divider.found is not None
    divider.ask("a")  # nothing is new
    divider.ask("b")  # too soon
    assert work.times == 1
    now[0] += 18.5
    divider.ask("b")
    divider.wait(30)
    assert work.times == 2


def test_what_went_wrong_is_said_and_what_was_found_stays(session) -> None:
    now = [0.0]
    divider = Divider(session.directory, timer=lambda: now[0])
    divider.ask(1)
    divider.wait(60)
    found = divider.found
    assert found is not None
    (session.directory / "session.sqlite").rename(session.directory / "gone")
    divider.ask(2)
    divider.wait(60)
    assert divider.problem
    assert divider.found is found
