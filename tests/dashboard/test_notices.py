"""What the page says beside the figures: what of a frame is not judged, whether the pixel size can be right."""

from dataclasses import replace

import pytest

from dashboard.components.ledger import LedgerPanel
from dashboard.components.live_frame import LiveFrame
from dashboard.view import RecordView

NOW = 1_760_000_000.0


@pytest.fixture
def view(session):
    view = RecordView(session.directory)
    yield view
    view.close()


def test_a_share_that_is_not_judged_is_said(session, view) -> None:
    session.analysed("yes", quality={"unjudged_share": 0.4})
    frame = LiveFrame(view)
    frame.update(view.poll(), NOW)
    assert "40% dark or filled in, not judged" in frame.caption.text
    session.analysed("yes", quality={"unjudged_share": 0.001})
    frame.update(view.poll(), NOW)
    assert "not judged" not in frame.caption.text


def test_the_pixel_size_is_doubted_where_the_spacings_speak_against_it(session, view) -> None:
    panel = LedgerPanel()
    said = replace(view.poll(), spacings=(False, "spacings read 3% <small>"))
    panel.update(said, 0.0)
    assert "▲" in panel.sources.text
    assert "spacings read 3% &lt;small&gt;" in panel.sources.text
    panel.update(replace(said, spacings=(True, "the spacings agree")), 0.0)
    assert "●" in panel.sources.text
    panel.update(replace(said, spacings=None), 0.0)
    assert "pixel size" not in panel.sources.text
