"""What the record tells of one particle: its track, what people said, where its frame lies."""

import json

import numpy as np
import pytest

from dashboard.frame_files import FrameFiles, Unavailable, read_movie
from dashboard.view import RecordView
from tests.dashboard.filed import file_frame, stripes


@pytest.fixture
def view(session):
    view = RecordView(session.directory)
    yield view
    view.close()


def followed(session, *classes: str) -> list[int]:
    """One particle in several frames; gives their numbers."""
    frames = [session.analysed(name) for name in classes]
    session.place(frames[0])
    session.db.execute("UPDATE particles SET track = (SELECT min(id) FROM tracks)")
    return frames


def test_a_particle_with_its_track_in_the_order_of_acquisition(session, view) -> None:
    frames = followed(session, "yes", "no", "yes")
    session.db.execute("UPDATE frames SET acquired = 1e9 - id")
    shown = view.inspected(frames[1], 1)
    assert (shown.particle_class, shown.probabilities) == ("no", (0.05, 0.05, 0.85, 0.05))
    assert [each.frame_id for each in shown.sightings] == frames[::-1]
    assert (shown.seen, shown.track_class) == (3, "yes")
    assert shown.diameter_nm == pytest.approx(2 * 35 * 0.03)
    assert shown.indexed_for == "CdSe"
    assert view.inspected(frames[1], 2) is None
    assert view.inspected(99, 1) is None


def test_of_a_long_track_the_sightings_around_the_particle_are_shown(session, view, monkeypatch) -> None:
    monkeypatch.setattr("dashboard.inspecting.SIGHTINGS", 4)
    frames = followed(session, *["yes"] * 9)
    shown = view.inspected(frames[8], 1)
    assert [each.frame_id for each in shown.sightings] == frames[5:]
    assert shown.seen == 9
    assert [each.frame_id for each in view.inspected(frames[4], 1).sightings] == frames[2:6]


def test_what_people_said_the_newest_first(session, view) -> None:
    (frame,) = followed(session, "yes")
    (particle,) = session.db.execute("SELECT id FROM particles").fetchone()

    def say(at: float, **told: object) -> None:
        arguments = json.dumps({"frame": frame, "label": 1, **told})
        session.db.execute(
            "INSERT INTO commands (at, name, arguments, accepted) VALUES (?, 'correct', ?, 1)",
            (at, arguments),
        )

    session.db.execute(
        "INSERT INTO labels (particle, drawn, inclusion, observer, class, at) VALUES (?, 1, 1, 'Ann', 'no', 5)",
        (particle,),
    )
    say(7, **{"class": "null", "observer": "Bea"})
    say(8, **{"class": "no", "observer": "Bea"})
    say(9, **{"class": "empty"})
    say(10, **{"class": None})  # taken back
    say(11, label=2, **{"class": "yes"})
    session.db.execute("INSERT INTO commands (at, name, arguments) VALUES (12, 'correct', 'no JSON')")
    said = view.inspected(frame, 1).said
    assert [(each.observer, each.particle_class, each.correction) for each in said] == [
        ("Bea", "no", True),
        ("Ann", "no", False),
    ]


def test_a_frames_own_pixels_while_its_file_is_the_one_that_was_analysed(session, view, tmp_path) -> None:
    frame, path, files = session.analysed("yes"), tmp_path / "a.tif", FrameFiles()
    file_frame(session, frame, path, stripes())
    filed = view.filed(frame)
    assert np.array_equal(files.pixels(session.directory, filed), stripes())
    file_frame(session, frame, path, stripes(300))
    with pytest.raises(Unavailable, match=r"a\.tif was changed after it was analysed"):
        files.pixels(session.directory, filed)
    with pytest.raises(Unavailable, match="another picture"):
        files.pixels(session.directory, view.filed(frame))
    path.write_bytes(b"no picture")
    session.db.execute("UPDATE frames SET file_size = NULL")
    with pytest.raises(Unavailable, match="can't be read"):
        files.pixels(session.directory, view.filed(frame))
    path.unlink()
    with pytest.raises(Unavailable, match="no longer there"):
        files.pixels(session.directory, filed)
    assert view.filed(99) is None


@pytest.mark.parametrize(
    ("settings", "mode"),
    [(None, "frames"), ("{}", "frames"), ('{"movie": null}', "sum"), ('{"movie": "first"}', "first")],
)
def test_what_became_of_movies(settings, mode) -> None:
    assert read_movie(settings) == mode
