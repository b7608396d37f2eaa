"""The search of architectures, with nets that are trained for two steps."""

import json
from pathlib import Path

import pytest

from models.errors import ModelError
from models.studies.search import CANDIDATES, front, main, name_of, parse, search, table_of
from models.training.unet import Settings
from models.unet import Architecture

TINY = [Architecture(4, levels=2), Architecture(4, levels=2, norm="group")]


def test_the_front_is_what_nothing_beats() -> None:
    assert front([(1, 0.5), (2, 0.7), (3, 0.6), (2, 0.6), (1, 0.5)]) == [True, True, False, False, True]


@pytest.mark.parametrize("architecture", CANDIDATES, ids=name_of)
def test_names_say_everything(architecture: Architecture) -> None:
    assert parse(name_of(architecture)) == architecture


@pytest.mark.parametrize("text", ["", "half-w24", "half-24-4-batch-3", "half-wx-l4-batch-k3"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(ModelError, match="half-w24-l4-batch-k3"):
        parse(text)


def test_a_search_is_kept_and_goes_on(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(steps=2, batch=2, round_steps=2)
    search(discs, tmp_path, TINY[:1], settings, repeats=1)
    first = tmp_path / name_of(TINY[0]) / "unet.safetensors"
    made = first.stat().st_mtime_ns
    result = search(discs, tmp_path, TINY, settings, repeats=1)
    assert first.stat().st_mtime_ns == made
    assert json.loads((tmp_path / "search.json").read_text()) == result
    assert (tmp_path / "search.png").stat().st_size > 1000
    rows = list(result["rows"].values())
    assert [row["parameters"] for row in rows] == [rows[0]["parameters"]] * 2
    assert all(row["cpu_ms"] > 0 and 0 <= row["dice"] <= 1 for row in rows)
    assert rows[0]["receptive_field_nm"] == TINY[0].receptive_field_nm(0.05)
    assert any(row["on_front"] for row in rows)
    assert table_of(result).as_text().count("\n") == 2
    with pytest.raises(ModelError, match="other settings"):
        search(discs, tmp_path, TINY, Settings(steps=2, batch=2, round_steps=2, seed=9), repeats=1)
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "new")])
    assert ended.value.code == 1
    assert "holds no data set" in capsys.readouterr().err
