"""The scores: which instances are judged and which are set aside, reliability, intervals, and the tables' bands."""

import numpy as np
import pytest

from models.evaluation.scores import BINS, Reliability, dice, f1, interval_of_pooled_dice, match, pieces
from models.examples.strata import DOSES, band, in_range, preset_of, row_order, strata


def disc(size: int, row: float, col: float, radius: float) -> np.ndarray:
    r, c = np.mgrid[:size, :size]
    return np.hypot(r - row, c - col) < radius


def labelled(*masks: np.ndarray, kind: type = np.int32) -> np.ndarray:
    """Label image in which later masks lie over earlier ones."""
    out = np.zeros(masks[0].shape, kind)
    for n, mask in enumerate(masks, start=1):
        out[mask] = n
    return out


def test_dice_and_hits() -> None:
    a = disc(64, 30, 30, 10)
    assert dice(a, a) == 1.0
    assert dice(a, ~a) == 0.0
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 1.0
    found = labelled(disc(64, 20, 20, 8), disc(64, 44, 44, 8))
    truth = labelled(disc(64, 20, 21, 8), disc(64, 20, 44, 8), kind=np.uint8)
    matching = match(found, truth)
    assert matching.plain() == matching.fair() == (1, 2, 2)
    assert matching.hits == {1: 1}
    assert f1(1, 2, 2) == 0.5
    assert f1(0, 0, 0) == 1.0


def test_what_the_border_leaves_of_a_particle_is_neither_hit_nor_miss() -> None:
    """A third of a particle 40 px across: missed and found wrongly count in the plain figure alone."""
    whole, cut = disc(128, 40, 40, 20), disc(128, 128 + 7, 90, 20)
    truth = labelled(whole, cut, kind=np.uint8)
    sizes = {1: 2.0, 2: 2.0}
    missed = match(labelled(whole), truth, 0.05, sizes)
    assert missed.plain() == (1, 1, 2)
    assert missed.fair() == (1, 1, 1)
    on_it = match(labelled(whole, disc(128, 125, 88, 4)), truth, 0.05, sizes)
    assert on_it.plain() == (1, 2, 2)
    assert on_it.fair() == (1, 1, 1)
    most_of_it = labelled(whole, disc(128, 118, 90, 20), kind=np.uint8)
    assert match(labelled(whole), most_of_it, 0.05, sizes).fair() == (1, 1, 2)  # seen well enough: a miss


def test_what_lies_under_another_particle_is_neither_hit_nor_miss() -> None:
    under, over = disc(128, 60, 60, 20), disc(128, 60, 78, 30)
    truth = labelled(under, over, kind=np.uint8)
    matching = match(labelled(over), truth, 0.05, {1: 2.0, 2: 3.0})
    assert matching.plain() == (1, 1, 2)
    assert matching.fair() == (1, 1, 1)


def test_a_free_particle_is_always_judged() -> None:
    """A thin rod has little of the area that its diameter promises, and is all there."""
    truth = np.zeros((128, 128), np.uint8)
    truth[60:66, 20:100] = 1
    assert match(np.zeros((128, 128), np.int32), truth, 0.05, {1: 4.0}).fair() == (0, 0, 1)


def test_regions_made_up_inside_the_image_are_never_excused() -> None:
    nothing = np.zeros((128, 128), np.uint8)
    assert match(labelled(disc(128, 60, 60, 12)), nothing).fair() == (0, 1, 0)
    assert match(labelled(disc(128, 0, 60, 12)), nothing).fair() == (0, 0, 0)  # reaches 0.6 nm in
    assert match(labelled(disc(128, 15, 60, 18)), nothing).fair() == (0, 1, 0)  # reaches 1.65 nm in


def test_pieces_over_the_border_are_two_particles() -> None:
    """A simulated field goes on at its opposite side: one label, two places."""
    mask = disc(128, 60, 110, 30)
    mask |= np.roll(disc(192, 60, 110, 30), 0)[:128, 128:192].any() & disc(128, 60, 110 - 128, 30)
    truth = mask.astype(np.uint8) * 7
    parts, names = pieces(truth)
    assert names == {1: 7, 2: 7}
    assert ((parts > 0) == mask).all()
    found = np.where(mask, np.where(np.arange(128) > 64, 1, 2), 0).astype(np.int32)
    matching = match(found, truth, 0.05, {7: 3.0})
    assert matching.plain() == (2, 2, 2)
    assert matching.fair()[0] == 1  # the larger piece; the smaller is less than half of it
    covered = labelled(
        disc(128, 60, 60, 30), disc(128, 60, 60, 100) & (abs(np.arange(128) - 60) < 5), kind=np.uint8
    )
    assert pieces(covered)[1] == {1: 1, 2: 2}  # parted by another particle, not by the border


def test_joined_and_split_particles_are_counted() -> None:
    a, b = disc(128, 60, 40, 18), disc(128, 60, 80, 18)
    truth = labelled(a, b, kind=np.uint8)
    joined = match(labelled(a | b), truth)
    assert (joined.merged, joined.split) == (1, 0)
    left = np.arange(128)[None, :] < 40
    halves = match(labelled(a & left, a & ~left, b), truth)
    assert (halves.merged, halves.split) == (0, 1)


def test_reliability_of_known_probabilities() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=(400, 500)).astype(np.float32)
    honest, vain = Reliability(), Reliability()
    honest.add(p, rng.uniform(size=p.shape) < p)
    vain.add(p, rng.uniform(size=p.shape) < p / 2)
    assert honest.error < 0.01
    assert vain.error == pytest.approx(0.25, abs=0.01)
    assert len(honest.diagram()) == BINS
    assert sum(row["pixels"] for row in honest.diagram()) == p.size
    assert Reliability().error == 0.0


def test_the_interval_knows_that_images_of_a_specimen_are_alike() -> None:
    rng = np.random.default_rng(3)
    score = np.repeat(rng.uniform(0.6, 1.0, 20), 8)
    areas = np.full(160, 100.0)
    by_specimen = interval_of_pooled_dice(score * areas, areas, np.repeat(np.arange(20), 8))
    by_image = interval_of_pooled_dice(score * areas, areas, np.arange(160))
    assert by_specimen[0] < score.mean() < by_specimen[1]
    assert np.diff(by_specimen)[0] > 1.8 * np.diff(by_image)[0]


def test_bands_and_the_range_of_the_bars() -> None:
    assert [band(d, DOSES, "e") for d in (19, 20, 60, 999, 1000)] == [
        None, "20 to 60 e", "60 to 100 e", "400 to 1000 e", "from 1000 e",
    ]  # fmt: skip
    rows = ["from 1000 e", "100 to 200 e", "60 to 100 e", "Au", "Ag"]
    assert sorted(rows, key=row_order) == ["60 to 100 e", "100 to 200 e", "from 1000 e", "Ag", "Au"]
    conditions = {"microscope": "corrected", "dose_e_per_A2": 80.0, "energy_kev": 300.0}
    about = {"specimen": "grains-1-5", "carbon_nm": 4.0, "conditions": conditions, "particles": []}
    assert preset_of(about) == "grains"
    assert in_range(about)
    assert ("range", "range of the bars, 64 to 100 e/Å²") in strata(about)
    assert ("range", "range of the bars, from 400 e/Å², carbon up to 5 nm") not in strata(about)
    for change in ({"dose_e_per_A2": 59.0}, {"dose_e_per_A2": 1001.0}, {"microscope": "overview"}):
        assert not in_range({**about, "conditions": conditions | change})
    assert not in_range({**about, "carbon_nm": 1.9})
    assert not in_range({**about, "specimen": "bare-1-5"})
