"""What the forest reads of the truth: each particle once, in all the rows that it belongs to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import SHIPPED, load_bundle
from models.results import CLASSES
from sim.checks.observer import exposures
from sim.checks.reader import WAYS, Read, figures, read, table_of, whole_ones


def particle(name: str, *said: str | None, **told: Any) -> Read:
    truth = {"class": name, "snr": 6.0, "resolved_plane": "own", "resolved_weight": 0.9, "faults": []} | told
    return Read(truth, tuple(None if s is None else np.eye(4)[CLASSES.index(s)] for s in said))


def test_a_particle_counts_in_all_its_rows_and_without_a_region_as_missed() -> None:
    faults = [{"depth_layers": 2.0}, {"depth_layers": 4.0}]
    result = figures(
        [
            particle("yes", None, "no", "yes", "yes", snr=2.0, faults=faults),
            particle("yes", "no", "no", "no", "no", resolved_plane="other", snr=50.0),
            particle("no", "no", "no", "no", "yes"),
            particle("null", "null", "null", "yes", "null", snr=0.4),
            particle("null", "null", "null", "null", "null", snr=9.0, resolved_weight=0.1),
        ]
    )
    right = result["right"]
    assert right["yes"] == {"particles": 2, "right": [0.0, 0.0, 0.5, 0.5]}
    assert right["yes, hidden"]["right"] == right["yes, signal from 12"]["right"] == [0, 0, 0, 0]
    assert right["yes, shown"] == right["yes, layers 3 to 6"] == right["yes, signal 1.5 to 3"]
    assert right["null by noise"]["right"] == [1, 1, 0, 1]
    assert right["null by its orientation"]["right"] == [1, 1, 1, 1]
    assert list(right)[:3] == ["null", "null by its orientation", "null by noise"]
    # true outlines: null 1, no 1/3 precise and wholly recalled (F1 1/2), yes 0
    assert result["macro_f1"][1] == np.mean([1.0, 0.5, 0.0])
    text = table_of(result).as_text()
    assert all(way in text for way in WAYS)
    assert "yes, layers 3 to 6" in text


def test_the_shipped_forest_reads_every_whole_particle_in_every_way(
    tmp_path: Path, sparse_films: Callable[[Path, int], None]
) -> None:
    sparse_films(tmp_path, 3)
    images = list(exposures(tmp_path, 3, 2, 1))
    found = read(load_bundle(SHIPPED, "cpu"), images)
    whole = sum(len(np.unique(regions[regions > 0])) for regions in map(whole_ones, images))
    assert len(found) == whole > 0
    for one in found:
        assert one.truth["class"] in ("yes", "no", "null")
        given = [p for p in one.probabilities if p is not None]
        assert len(given) >= len(WAYS) - 1  # the true outlines are always there
        np.testing.assert_allclose([p.sum() for p in given], 1, atol=1e-6)
