"""Alarms and audits on the page: what is clicked becomes a command, what the session answers is shown."""

import io
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from dashboard.asking import NO_ANSWER, PATIENCE_S
from dashboard.crops import Crops, crop_box
from dashboard.page import SessionPage
from dashboard.snapshot import Sighting
from dashboard.view import RecordView


@pytest.fixture
def page(session, clock):
    view = RecordView(session.directory)
    yield SessionPage(view, clock=clock)
    view.close()


def click(page, *asked: tuple[str, str]) -> None:
    """As the page's script does it."""
    page.asking.source.data = {"what": [what for what, _ in asked], "value": [value for _, value in asked]}
    page.tick()


# -- alarms --------------------------------------------------------------------------------------------------


def test_an_alarm_says_what_why_since_when_and_what_to_do(page, session) -> None:
    session.analysed("yes")
    session.alarm("beam <lost>", "critical", cause="It is <script>dark</script>.")
    page.tick()
    text = page.alarms.root.text
    for part in (
        "✕",
        "beam &lt;lost&gt;",
        "critical · since ",
        "It is &lt;script&gt;dark",
        "3 frames, 3 to 5",
        "Mend it.",
    ):
        assert part in text
    assert "<script" not in text


def test_what_was_cleared_stays_for_a_while_without_a_button(page, session, clock) -> None:
    session.analysed("yes")
    page.tick()
    assert "no alarm is on" in page.alarms.root.text
    session.alarm("charging", until=clock.now + 9)
    page.tick()
    assert "cleared lately" in page.alarms.root.text
    assert "<button" not in page.alarms.root.text


def test_acknowledging_is_asked_of_the_session_and_turns_the_state_back(page, session) -> None:
    session.analysed("yes")
    number = session.alarm("drift too fast")
    page.tick()
    assert page.pulse.source.data["state"] == ["warning"]
    assert page.pulse.source.data["alarms"] == [str(number)]
    click(page, ("acknowledge", str(number)))
    assert session.asked() == [("acknowledge", {"alarm": number}, None)]
    assert "asked …" in page.alarms.root.text
    assert "disabled" in page.alarms.root.text
    session.carry_out()
    page.tick()
    assert "✓ acknowledged" in page.alarms.root.text
    assert "<button" not in page.alarms.root.text
    assert page.pulse.source.data["state"] == ["live"]
    assert page.pulse.source.data["alarms"] == [""]


def test_a_session_that_does_not_answer_is_said_to(page, session, clock) -> None:
    number = session.alarm("drift too fast")
    page.tick()
    click(page, ("acknowledge", str(number)))
    clock.now += PATIENCE_S + 1
    page.tick()
    assert NO_ANSWER in page.alarms.root.text
    assert "disabled" not in page.alarms.root.text
    session.carry_out()  # later all the same
    page.tick()
    assert "✓ acknowledged" in page.alarms.root.text


def test_an_answer_that_is_a_refusal_is_shown(page, session) -> None:
    number = session.alarm("drift too fast")
    page.tick()
    click(page, ("acknowledge", str(number)))
    session.db.execute("UPDATE commands SET accepted = 0, answer = 'not <now>'")
    page.tick()
    assert "not &lt;now&gt;" in page.alarms.root.text


@pytest.mark.parametrize(
    "asked", [("acknowledge", "99"), ("acknowledge", "x"), ("nothing", ""), ("label", "1:yes")]
)
def test_what_can_not_be_asked_is_not_written(page, session, asked) -> None:
    session.alarm("drift too fast")
    page.tick()
    click(page, asked)
    assert session.asked() == []


# -- audits --------------------------------------------------------------------------------------------------


@pytest.fixture
def audited(page, session):
    """Six particles, all of them drawn."""
    for _ in range(2):
        session.place(session.analysed("yes", "no", "null"))
    click(page, ("audit-open", "1"), ("audit", "6"))
    session.carry_out()
    page.tick()
    return page


def label(page, session, name: str) -> int:
    particle = page.audit.shown.particle
    click(page, ("label", f"{particle}:{name}"))
    session.carry_out()
    page.tick()
    return particle


def test_nothing_is_shown_and_nothing_looked_up_before_it_is_opened(page, session) -> None:
    session.place(session.analysed("yes"))
    page.tick()
    assert page.audit.root.text == ""
    click(page, ("audit-open", "1"))
    assert "No particle was drawn" in page.audit.root.text


def test_without_a_name_nothing_can_be_labelled(audited, session) -> None:
    assert "Give your name first" in audited.audit.root.text
    assert audited.audit.root.text.count(" disabled>") == 5  # four classes and undo
    particle = audited.audit.shown.particle
    click(audited, ("label", f"{particle}:yes"))
    assert [name for name, *_ in session.asked()] == ["audit"]


def test_a_question_tells_nothing_of_what_the_model_said(audited, session) -> None:
    click(audited, ("observer", "Ada"))
    texts = []
    for _ in range(6):
        text = audited.audit.root.text
        assert "0.85" not in text  # the model's probability of its class
        texts.append(re.sub("[0-9]+", "", text.split(" nm</div></div>")[1]))
        label(audited, session, "no")
    assert len(set(texts[1:])) == 1  # before the first there is nothing to undo


def test_labels_are_commands_with_a_name_and_progress_is_said(audited, session) -> None:
    click(audited, ("observer", "  Ada  "))
    assert "1 of 6" in audited.audit.root.text
    first = label(audited, session, "yes")
    assert "2 of 6" in audited.audit.root.text
    assert audited.audit.shown.particle != first
    assert session.asked()[1:] == [("label", {"particle": first, "observer": "Ada", "class": "yes"}, 1)]


def test_a_second_click_for_the_particle_before_is_not_taken(audited, session) -> None:
    click(audited, ("observer", "Ada"))
    particle = audited.audit.shown.particle
    click(audited, ("label", f"{particle}:yes"), ("label", f"{particle}:no"))
    assert len(session.asked()) == 2


def test_undo_takes_the_last_label_back_and_shows_it_again(audited, session) -> None:
    click(audited, ("observer", "Ada"))
    label(audited, session, "no")
    second = label(audited, session, "no")
    click(audited, ("undo", ""))
    session.carry_out()
    audited.tick()
    assert session.asked()[-1] == ("label", {"particle": second, "observer": "Ada", "class": None}, 1)
    assert audited.audit.shown.particle == second
    assert "2 of 6" in audited.audit.root.text


def test_what_is_skipped_comes_at_the_end(audited, session) -> None:
    click(audited, ("observer", "Ada"))
    skipped = audited.audit.shown.particle
    click(audited, ("skip", str(skipped)))
    others = [label(audited, session, "no") for _ in range(5)]
    assert skipped not in others
    assert len(set(others)) == 5
    assert audited.audit.shown.particle == skipped


def test_when_all_are_labelled_it_says_how_the_fraction_moved_and_how_observers_agree(
    audited, session
) -> None:
    click(audited, ("observer", "Ada"))
    before = audited.audit._figures
    for name in ("yes", "no", "null", "yes", "no", "no"):
        label(audited, session, name)
    session.db.execute(
        "UPDATE statistics SET corrected = 0.25, low = 0.125, high = 0.5, labels = 6 WHERE position = 2"
    )
    audited.tick()
    text = audited.audit.root.text
    assert "All 6 drawn particles are labelled by <b>Ada</b>" in text
    assert f"The fraction was {100 * before.corrected:.1f} %" in text
    assert "it is 25.0 % (12.5 % – 50.0 %)" in text
    assert "6 of 6 labelled" in audited.fraction.headline.text
    click(audited, ("observer", "<b>Bea"))
    assert "1 of 6" in audited.audit.root.text
    for name in ("yes", "no", "null", "yes", "no", "yes"):
        label(audited, session, name)
    assert "&lt;b&gt;Bea" in audited.audit.root.text
    assert "Two observers on 6 particles: κ = 0." in audited.audit.root.text


# -- crops ---------------------------------------------------------------------------------------------------


def sighting(bbox, side=400, **parts) -> Sighting:
    values = {
        "particle": 1, "frame_id": 1, "path": "a.tif", "item": 0, "file_size": None, "file_mtime_ns": None,
        "height": side, "width": side, "pixel_size_nm": 0.03, "bbox": bbox, "outline": (), "stamp": "a",
    }  # fmt: skip
    return Sighting(**(values | parts))


@pytest.mark.parametrize(
    "bbox", [(100, 120, 200, 220), (0, 0, 50, 60), (380, 390, 400, 400), (0, 0, 400, 400)]
)
def test_a_crop_is_square_holds_the_particle_and_lies_in_the_frame(bbox) -> None:
    top, left, bottom, right = crop_box(sighting(bbox))
    assert bottom - top == right - left
    assert 0 <= top <= bbox[0] < bbox[2] <= bottom <= 400
    assert 0 <= left <= bbox[1] < bbox[3] <= right <= 400


def test_of_a_small_particle_enough_around_it_is_seen() -> None:
    top, _, bottom, _ = crop_box(sighting((200, 200, 210, 210)))
    assert (bottom - top) * 0.03 == pytest.approx(4, abs=0.03)


def test_a_crop_comes_from_the_file_and_from_the_preview_once_that_is_another(tmp_path) -> None:
    pixels = np.zeros((400, 400), np.uint16)
    pixels[::2] = 1000  # rows that no preview of half the size shows
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    status = (tmp_path / "a.tif").stat()
    shown = sighting((100, 120, 200, 220), file_size=status.st_size, file_mtime_ns=status.st_mtime_ns)
    preview = io.BytesIO()
    Image.fromarray(np.full((200, 200), 77, np.uint8)).save(preview, "JPEG")

    def cut(crops: Crops, of: Sighting, beside: bytes | None) -> np.ndarray | None:
        png = crops.png(tmp_path, of, beside)
        return None if png is None else np.asarray(Image.open(io.BytesIO(png)))

    crops = Crops()
    real = cut(crops, shown, preview.getvalue())
    assert real.shape == (170, 170)
    assert set(np.unique(real)) == {0, 255}
    changed = sighting(shown.bbox, file_size=status.st_size + 1, file_mtime_ns=status.st_mtime_ns)
    assert np.ptp(cut(crops, changed, preview.getvalue())) == 0
    (tmp_path / "a.tif").unlink()
    assert cut(crops, shown, preview.getvalue()).shape == (170, 170)
    assert cut(crops, shown, None) is None
