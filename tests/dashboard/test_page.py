"""The page put together: a valid Document, every model named, nothing done where nothing is new."""

import logging

import pytest
from bokeh.document import Document

from dashboard.page import (
    LOOK_MS,
    TABS,
    TICK_MS,
    SessionPage,
    Views,
    find_session,
    list_document,
    picture_address,
    session_document,
    sessions_in,
)
from dashboard.sessions import SessionList
from dashboard.view import RecordView


@pytest.fixture
def views():
    views = Views()
    yield views
    for directory in list(views._views):
        views.release(directory)


@pytest.fixture
def filled(session):
    session.analysed("yes", "no", "null", "empty")
    session.refuse(session.arrive(), "no pixel size; give --pixel-size")
    return session


def test_the_document_is_valid_and_every_model_has_a_name_of_its_own(filled, views, clock, caplog) -> None:
    doc = Document()
    with caplog.at_level(logging.WARNING):
        session_document(doc, views, filled.directory, clock=clock)
        doc.validate()
    assert caplog.records == []
    names = [model.name for model in doc.models]
    assert all(names)
    assert len(set(names)) == len(names)
    assert {root.name for root in doc.roots} == {
        "pulse",
        "frame",
        "fraction",
        "counts",
        "sizes",
        "alarms",
        "audit",
        "ledger",
        *(tab.name for tab in TABS),
    }
    assert filled.directory.name in doc.title


def test_a_page_without_a_record_is_valid_too(tmp_path, views, clock) -> None:
    doc = Document()
    session_document(doc, views, tmp_path / "later", clock=clock)
    doc.validate()
    assert "no frame analysed yet" in doc.get_model_by_name("frame_caption").text


def test_a_tick_without_news_touches_nothing(filled, clock) -> None:
    view = RecordView(filled.directory)
    page = SessionPage(view, clock=clock)
    doc = Document()
    for root in page.roots:
        doc.add_root(root)
    changes = []
    doc.on_change(changes.append)
    for _ in range(5):
        page.tick()
    assert changes == []
    filled.analysed("yes")
    page.tick()
    assert changes
    view.close()


def test_a_page_catches_up_with_a_session_that_begins_later(made, clock) -> None:
    view = RecordView(made.directory)
    page = SessionPage(view, clock=clock)
    assert page.pulse.source.data["state"] == ["waiting"]
    made.begin()
    made.analysed("yes")
    page.tick()
    assert page.frame.shown.id == 1
    assert page.pulse.source.data["state"] == ["live"]
    view.close()


def test_a_page_over_what_turns_out_to_be_a_folder_of_sessions_is_fetched_anew(
    tmp_path, make_session, clock
) -> None:
    page = SessionPage(RecordView(tmp_path), clock=clock)
    assert page.pulse.source.data["reload"] == [False]
    make_session(tmp_path / "first")
    page.tick()
    assert page.pulse.source.data["reload"] == [True]


def test_one_view_serves_all_viewers_and_closes_with_the_last(filled, views) -> None:
    first = views.acquire(filled.directory)
    assert views.acquire(filled.directory) is first
    first.poll()
    views.release(filled.directory)
    assert len(views) == 1
    views.release(filled.directory)
    assert len(views) == 0
    assert first._db is None


def test_which_session_is_asked_for(tmp_path, make_session) -> None:
    assert find_session(tmp_path / "new", None) == tmp_path / "new"
    one = make_session(tmp_path / "all" / "one").directory
    assert find_session(one, None) == one
    assert find_session(one.parent, None) is None
    assert find_session(one.parent, "one") == one
    for name in ("two", "..", "../all/one", "", "one/", "/"):
        assert find_session(one.parent, name) is None
    assert sessions_in(one.parent) == [one]


def test_addresses_of_previews_survive_strange_names() -> None:
    assert picture_address("preview", "jpg", None).format(id=3, stamp="ab") == "preview/3.jpg?v=ab"
    assert (
        picture_address("crop", "png", "a&b {c}").format(id=3, stamp="ab")
        == "crop/3.png?v=ab&session=a%26b%20%7Bc%7D"
    )


def test_the_list_names_every_session_with_its_figures(tmp_path, make_session, clock) -> None:
    good, bad = make_session(tmp_path / "a <b>"), make_session(tmp_path / "broken")
    good.analysed("yes", "no")
    bad.db.execute("DROP TABLE statistics")
    (tmp_path / "no session").mkdir()
    sessions = SessionList(tmp_path)
    sessions.update(clock())
    text = sessions.root.text
    assert 'href="session?session=a%20%3Cb%3E">a &lt;b&gt;</a>' in text
    assert "50.0 %" in text or "%" in text.split("a &lt;b&gt;</a>")[1]
    assert "no such table" in text
    assert "no session" not in text
    doc = Document()
    list_document(doc, tmp_path, clock=clock)
    doc.validate()


def test_the_list_reads_again_only_what_changed(tmp_path, make_session, clock, monkeypatch) -> None:
    session = make_session(tmp_path / "one")
    opened = []
    from dashboard import sessions as module

    monkeypatch.setattr(
        module, "open_record", lambda path, real=module.open_record: opened.append(path) or real(path)
    )
    listed = SessionList(tmp_path)
    for _ in range(3):
        listed.update(clock())
    assert len(opened) == 1
    session.analysed("yes")
    listed.update(clock())
    assert len(opened) == 2


def test_an_empty_folder_says_so(tmp_path, clock) -> None:
    sessions = SessionList(tmp_path / "nowhere")
    sessions.update(clock())
    assert "no session in this folder" in sessions.root.text


def test_a_frame_after_a_pause_is_shown_at_once_and_quick_ones_at_the_page_s_pace(session, clock) -> None:
    steady = type(clock)(0.0)
    view = RecordView(session.directory)
    page = SessionPage(view, clock=clock, steady=steady)
    first = session.analysed("yes")
    page.look()
    assert page.frame.shown is None  # it was brought up to date just now
    steady.now += TICK_MS / 1e3
    page.look()
    assert page.frame.shown.id == first
    steady.now += 3 * TICK_MS / 1e3
    page.look()  # nothing is new
    second = session.analysed("no")
    steady.now += LOOK_MS / 1e3
    page.look()
    assert page.frame.shown.id == second
    third = session.analysed("null")
    for _ in range(TICK_MS // LOOK_MS - 2):
        steady.now += LOOK_MS / 1e3
        page.look()
        assert page.frame.shown.id == second
    steady.now += 2 * LOOK_MS / 1e3
    page.look()
    assert page.frame.shown.id == third
    view.close()


def test_two_pages_of_one_record_both_show_a_frame_at_once(session, clock) -> None:
    """Whoever looks first reads it for both."""
    steady = type(clock)(0.0)
    session.analysed("yes")
    view = RecordView(session.directory)
    pages = [SessionPage(view, clock=clock, steady=steady) for _ in range(2)]
    steady.now += 2.5 * TICK_MS / 1e3
    for page in pages:
        page.look()
    second = session.analysed("no")
    steady.now += LOOK_MS / 1e3
    for page in pages:
        page.look()
        assert page.frame.shown.id == second
    view.close()
