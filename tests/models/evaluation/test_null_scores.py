"""The leak of `null`, by zone and by specimen."""

import numpy as np
import pytest

from models.evaluation.null_scores import BETWEEN, null_scores, zone_of
from models.evaluation.tables import tables
from models.results import CLASSES


def certain(*called: str) -> np.ndarray:
    return np.eye(4)[[CLASSES.index(name) for name in called]]


TRUTHS = np.array([CLASSES.index(name) for name in ("null", "null", "null", "null", "no", "null")])
CALLED = certain("null", "no", "yes", "null", "yes", "null")
ZONES = ["[100]", "[100]", "[111]", "[111]", "[110]", BETWEEN]
SPECIMENS = ["a", "a", "b", "b", "b", "c"]


def test_the_leak_is_counted_by_zone_and_by_specimen() -> None:
    found = null_scores(TRUTHS, CALLED, ZONES, SPECIMENS)
    assert found["all"] == {"regions": 5, "recall": 0.6, "no": 0.2, "yes": 0.2}
    assert found["by_zone"]["[100]"] == {"regions": 2, "recall": 0.5, "no": 0.5, "yes": 0.0}
    assert set(found["by_zone"]) == {"[100]", "[111]", BETWEEN}  # what is not null in truth does not count
    assert list(found["by_specimen"])[-1] == "c"
    assert found["specimens_over"] == 2


def test_the_leak_is_shown() -> None:
    classified = {
        "confusion": np.zeros((4, 4), int).tolist(),
        "recall": dict.fromkeys(CLASSES, 0.0),
        "precision": dict.fromkeys(CLASSES, 0.0),
        "null": null_scores(TRUTHS, CALLED, ZONES, SPECIMENS),
    }
    shown = {table.title: table for table in tables({"classification": classified})}
    by_zone = shown["whole chain, null by zone"]
    assert by_zone.rows[0] == ("all", "5", "0.600", "0.200", "0.200")
    by_specimen = shown["whole chain, null by specimen (2 of 3 above 0.3; the leakiest)"]
    assert [row[0] for row in by_specimen.rows] == ["a", "b"]


def test_without_null_there_is_no_leak() -> None:
    nothing = null_scores(np.array([3]), certain("yes"), ["[110]"], ["a"])
    assert nothing["all"]["regions"] == 0
    assert nothing["specimens_over"] == 0


@pytest.mark.parametrize(
    ("told", "zone"),
    [
        ({"zone": "[100]", "zone_tilt": 2.0}, "[100]"),
        ({"zone": "[100]", "zone_tilt": 9.0}, BETWEEN),
        ({"zone": None, "zone_tilt": None}, BETWEEN),
    ],
)
def test_a_particle_is_seen_along_a_zone_that_is_near(told: dict[str, object], zone: str) -> None:
    assert zone_of(told) == zone
