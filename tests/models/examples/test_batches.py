"""What examples are made of: their targets, steps of the light, marks, and those of a data set on any device."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from models.examples.batches import (
    CORE_NM,
    DIMMEST,
    SMALL_PX,
    DataSet,
    Drawing,
    cut_small,
    exposed_anew,
    spread_anew,
    targets,
)
from models.examples.chance import Chance
from models.examples.shards import examples_by_split
from models.preprocess import Preprocessing


@pytest.mark.parametrize("pixel_nm", [0.05, 0.037])
def test_the_core_is_further_than_its_distance_from_every_border(pixel_nm: float) -> None:
    labels = np.zeros((3, 96, 80), np.uint8)
    labels[0, 10:60, 5:40], labels[0, 20:70, 40:75] = 1, 2
    r, c = np.mgrid[:96, :80]
    labels[1, np.hypot(r - 90, c - 40) < 35] = (
        7  # cut by the border of the image, which is no border of a particle
    )
    found = targets(torch.from_numpy(labels), pixel_nm).numpy()
    np.testing.assert_array_equal(found[:, 0], labels > 0)
    for one, core in zip(labels, found[:, 1] > 0, strict=True):
        inside = np.ones(one.shape, bool)
        for axis in (0, 1):
            for way in (1, -1):
                moved = np.roll(one, way, axis)
                edge = [slice(None), slice(None)]
                edge[axis] = slice(0, 1) if way > 0 else slice(-1, None)
                moved[tuple(edge)] = one[tuple(edge)]
                inside &= moved == one
        inside &= one > 0
        distance = distance_transform_edt(inside) if not inside.all() else np.full(one.shape, np.inf)
        np.testing.assert_array_equal(core, inside & (distance > CORE_NM / pixel_nm))
    assert found[1, 1, 95, 40] == 1
    assert not found[2].any()


def test_a_small_frame_is_a_window_standardised_by_itself_whose_edge_cuts_particles() -> None:
    labels = torch.zeros(32, 256, 256, dtype=torch.uint8)
    labels[:, 20:70, 20:70] = 1
    truth = targets(labels, 0.05)
    images = 4 * truth[:, 0] + 0.5 * Chance(5).normal((32, 256, 256))
    sides, cut = set(), []
    for seed in range(6):
        found, wanted = cut_small(images, truth, Preprocessing(), Chance(seed))
        side = found.shape[1]
        assert wanted.shape == (32, 2, side, side)
        sides.add(side)
        assert found.std((1, 2), correction=0) == pytest.approx(np.ones(32), abs=0.05)  # but for the clip
        for image, inside in zip(found, wanted[:, 0] > 0, strict=True):
            assert not inside.any() or float(image[inside].mean()) > float(image[~inside].mean()) + 1
        cut += (wanted[:, 0].sum((1, 2)) < 2500).tolist()
    assert len(sides) > 2
    assert sides <= set(SMALL_PX)
    assert np.mean(cut) > 0.4


def test_steps_of_the_light_and_marks_come_as_often_as_they_should() -> None:
    images = torch.ones(400, 32, 32) + 0.1 * Chance(0).normal((400, 32, 32))
    labels = torch.ones(400, 32, 32, dtype=torch.uint8)
    drawing = Drawing(steps=0.3, marks=0.2)
    asked: list[int] = []

    def lights(count: int) -> torch.Tensor:
        asked.append(count)
        return torch.zeros(count, 32, 32)

    def stamps(count: int) -> torch.Tensor:
        asked.append(count)
        return torch.ones(count, 32, 32, dtype=torch.uint8)

    found, left = exposed_anew(images, labels, drawing, Chance(1), lights, stamps)
    assert [count / 400 for count in asked] == pytest.approx([0.3, 0.2], abs=0.07)
    assert int((left == 0).all(2).all(1).sum()) == asked[1]
    assert (labels == 1).all()
    plain, _ = exposed_anew(images, labels, replace(drawing, marks=0.0), Chance(1), lights, stamps)
    dimmed = plain.mean((1, 2)) / exposed_anew(
        images, labels, replace(drawing, steps=0.0, marks=0.0), Chance(1), lights, stamps
    )[0].mean((1, 2))
    assert int(((dimmed - DIMMEST).abs() < 1e-3).sum()) == asked[0]
    assert found.isfinite().all()


def test_spreads_and_means_vary() -> None:
    images = Chance(0).normal((200, 64, 64))
    varied = spread_anew(images, Chance(1))
    assert float(varied.std((1, 2)).log().std()) == pytest.approx(0.15, abs=0.03)
    assert float(varied.mean((1, 2)).std()) == pytest.approx(0.1, abs=0.03)


def test_a_data_set_is_a_source(discs: Path) -> None:
    learn, check = (examples_by_split(discs, [split]) for split in ("train", "validation"))
    source = DataSet(learn, check, Drawing(), Preprocessing(), 1, "cpu")
    batches = source.batches(4, 7)
    image, wanted = next(batches)
    again, _ = next(source.batches(4, 7))
    assert torch.equal(image, again)
    assert not torch.equal(image, next(batches)[0])
    assert image.shape == (4, 1, 128, 128)
    assert wanted.shape == (4, 2, 128, 128)
    assert source.validation() is check
    assert source.digest == learn.digest
    assert source.told()["images"] == len(learn)
    assert source.rates == {}
