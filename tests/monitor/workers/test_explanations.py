"""`analyse --explain`: which files are written, and that they say what the analysis says."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from models.errors import ModelError
from monitor.errors import InputError
from monitor.workers.oneshot import Models, Options, analyse

ROW = 3 / (2 * np.sqrt(2) * 2.851)


def frame(seed: int, size: int = 160) -> np.ndarray:
    """A disc of dark columns in rows, ABAB, on noise: (size, size) counts at 0.05 nm/px."""
    grid = np.stack(np.mgrid[:size, :size], axis=-1) * 0.05
    image = np.random.default_rng(seed).normal(1000, 30, (size, size))
    for layer in range(-5, 6):
        for n in range(-6, 7):
            spot = np.array([layer / 2.851, (n + (layer % 2) / 3) * ROW])
            if np.hypot(*spot) < 1.8:
                image -= 110 * np.exp(-((grid - spot - size * 0.025) ** 2).sum(-1) / (2 * 0.07**2))
    return image.astype(np.float32)


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(None, "CdSe", "cpu", keep=True)


def _run(models: Models, files: list[Path], options: Options) -> list[dict]:
    out = io.StringIO()
    given = [str(file) for file in files]
    status = analyse(
        given,
        options,
        models.judge,
        as_json=True,
        explain=models.explain,
        out=out,
        err=io.StringIO(),
    )
    assert status == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_picture_and_json_of_every_particle(models: Models, tmp_path: Path) -> None:
    """Names as those of masks: of stacks with the index, of stems that collide with the folder."""
    (tmp_path / "day1").mkdir()
    (tmp_path / "day2").mkdir()
    np.save(tmp_path / "day1" / "a.npy", frame(0))
    np.save(tmp_path / "day2" / "a.npy", frame(1))
    tifffile.imwrite(tmp_path / "day2" / "b.tif", np.stack([frame(2), frame(3)]), photometric="minisblack")
    out = tmp_path / "results" / "why"
    files = [tmp_path / "day1" / "a.npy", tmp_path / "day2" / "a.npy", tmp_path / "day2" / "b.tif"]
    lines = _run(models, files, Options(pixel_size_nm=0.05, masks=tmp_path / "masks", explain=out))
    stems = ["day1_a", "day2_a", "b_0", "b_1"]
    assert sorted(path.stem for path in (tmp_path / "masks").iterdir()) == sorted(stems)
    wanted = {
        f"{stem}-{number}.{ending}"
        for stem, line in zip(stems, lines, strict=True)
        for number in range(1, len(line["particles"]) + 1)
        for ending in ("png", "json")
    }
    assert wanted
    assert {path.name for path in out.iterdir()} == wanted
    for stem, line in zip(stems, lines, strict=True):
        for number, particle in enumerate(line["particles"], start=1):
            told = json.loads((out / f"{stem}-{number}.json").read_text(encoding="utf-8"))
            assert (told["frame"], told["index"], told["label"]) == (line["frame"], line["index"], number)
            for name in ("class", "probabilities", "bbox", "centroid", "abstained"):
                assert told[name] == particle[name]
            assert told["bundle"] == line["bundle"]
            with Image.open(out / f"{stem}-{number}.png") as picture:
                assert picture.format == "PNG"
    told = json.loads((out / "day1_a-1.json").read_text(encoding="utf-8"))
    assert told["stack"]["sequence"] == "hexagonal"
    assert told["stack"]["d_nm"] == pytest.approx(0.3507, rel=0.02)
    assert "0002" in {spot["index"] for spot in told["spots"]}


def test_explanations_that_cannot_be_put_anywhere(models: Models, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", frame(0))
    with pytest.raises(InputError, match="can't be made"):
        _run(models, [tmp_path / "a.npy"], Options(0.05, explain=tmp_path / "a.npy"))
    (tmp_path / "why" / "a-1.png").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a-1\.png can't be written"):
        _run(models, [tmp_path / "a.npy"], Options(0.05, explain=tmp_path / "why"))


def test_what_was_not_kept_cannot_be_explained() -> None:
    plain = Models(None, None, "cpu")
    particle = plain.judge(frame(0), 0.05).particles[0]
    with pytest.raises(ModelError, match="without keeping"):
        plain.explain(particle, 1)
