"""The command that measures long sessions, on short ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboard.growth import main
from monitor.studies import growth


def test_a_row_for_everything_that_is_to_be_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(growth, "BLOCK", 8)
    assert main(["--frames", "8", "24", "--probes", "2", "--rounds", "1", "--folder", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "24 frames, 240 particles" in said
    rows = re.findall(r"^\| (\w+), \w+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", said, flags=re.MULTILINE)
    assert rows == 2 * ["opening", "commit", "settle", "snapshot", "summary", "goal", "export"]
    assert not list(tmp_path.iterdir())
