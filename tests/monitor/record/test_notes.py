"""Notes: kept in the order of their time, refused where there is nothing in them."""

import pytest

from monitor.errors import InputError
from monitor.record.commands import ask, carry_out
from monitor.record.notes import NoteRow, read_notes
from monitor.record.writer import RecordWriter


def test_notes_are_kept_in_order_with_their_writer(record: RecordWriter) -> None:
    ask(record.folder, "note", {"text": "  new grid\n", "by": "Ada"}, 1.0)
    ask(record.folder, "note", {"text": "beam was off"}, 2.0)
    assert read_notes(record._db) == []  # the session has not looked yet
    assert carry_out(record._db, 3.0) == ["note", "note"]
    kept = [NoteRow(1.0, "Ada", "new grid"), NoteRow(2.0, "", "beam was off")]
    assert read_notes(record._db) == kept
    assert read_notes(record._db, 1) == kept[1:]


@pytest.mark.parametrize(
    "arguments", [{"text": "  "}, {"by": "Ada"}, {"text": "x" * 4001}, {"text": "x", "to": 1}]
)
def test_what_is_no_note_is_refused(record: RecordWriter, arguments) -> None:
    with pytest.raises(InputError, match="note"):
        ask(record.folder, "note", arguments, 1.0)
