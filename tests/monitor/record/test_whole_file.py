"""A file is there whole or not at all."""

from pathlib import Path

import pytest

from monitor.errors import InputError
from monitor.record.whole_file import whole_file


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    to = tmp_path / "table.csv"
    to.write_text("old")
    with pytest.raises(ValueError, match="half"), whole_file(to) as part:  # noqa: PT012
        part.write_text("new, not fin")
        raise ValueError("half")
    assert to.read_text() == "old"
    with whole_file(to) as part:
        part.write_text("new")
    assert to.read_text() == "new"
    assert list(tmp_path.iterdir()) == [to]


def test_what_cant_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be written"), whole_file(tmp_path / "no" / "t.csv") as part:
        part.write_text("x")
