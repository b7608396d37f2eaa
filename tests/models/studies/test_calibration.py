"""Whether probabilities are true depends on how frequent `null` is, and on how many specimens tell it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from models.results import CLASSES
from models.studies.calibration import by_class, errors, smaller_sets, tables_of
from tests.models.studies import made

NULL, YES = CLASSES.index("null"), CLASSES.index("yes")


rows_of = partial(made.rows_of, split="train", doses=(500.0, 80.0))


def votes(null: np.ndarray) -> np.ndarray:
    p = np.zeros((len(null), 4))
    p[:, NULL], p[:, YES] = null, 1 - null
    return p


def test_probabilities_of_one_population_are_too_low_for_another() -> None:
    truth = np.array([NULL] * 70 + [YES] * 30)
    rows, p = rows_of(truth, np.arange(100).astype(str)), votes(np.full(100, 0.7))
    assert errors(rows, p, 1.0)["error"] == pytest.approx(0.0)
    more = errors(rows, p, 4.0)
    assert more["null_share"] == pytest.approx(280 / 310)
    assert more["more"] == pytest.approx(280 / 310 - 0.7)
    assert more["error"] == pytest.approx(more["more"])
    assert by_class(rows, p, 4.0) == {"null": pytest.approx(more["more"])}


def test_a_stratum_counts_from_so_many_regions_on() -> None:
    truth = np.array([NULL] * 100)
    p = votes(np.where(np.arange(100) % 2, 0.9, 0.6))  # 80 e/Å² are called more surely than 500
    assert errors(rows_of(truth, truth.astype(str)), p, 1.0, least=50)["largest"] == pytest.approx(0.4)
    alone = errors(rows_of(truth, truth.astype(str)), p, 1.0, least=51)
    assert alone["largest"] == pytest.approx(0.25)
    assert alone["where"] == "corrected"


def test_few_specimens_show_an_error_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    specimen = np.repeat(np.arange(400), 5).astype(str)
    truth = np.repeat(np.where(rng.random(400) < 0.7, NULL, YES), 5)  # all of a specimen are alike
    rows, p = rows_of(truth, specimen), votes(np.full(2000, (truth == NULL).mean()))
    few, many = (smaller_sets(rows, p, count, 10, 0) for count in (20, 200))
    assert errors(rows, p, 1.0)["error"] == pytest.approx(0.0)
    assert few["regions"] == 100
    assert few["error"][1] > 2 * many["error"][1] > 0
    spread = np.sqrt(0.7 * 0.3 / 20)
    assert few["error"][1] == pytest.approx(0.67 * spread, rel=0.35)  # median of |normal|


def test_every_figure_is_in_a_table() -> None:
    told = {"null_share": 0.5, "error": 0.01, "more": -0.02, "largest": 0.03, "where": "corrected"}
    one = {
        "regions": 10,
        "by_chance": 0.02,
        "by_exponent": {"1": {"1": told}, "1.2": {"1": told}},
        "by_class": {"1": {"null": 0.1}},
    }
    few = {"specimens": 5, "regions": 12.0, "error": [0.1, 0.2, 0.3], "largest": [0.2, 0.3, 0.4]}
    result = {"bundle": "a", "sharpening": 1.2, "sets": {"validation": one}, "smaller": few}
    text = "\n".join(table.as_text() for table in tables_of(result))
    assert "exponent 1.2 (in use), null × 1" in text
    assert "0.200 (0.100 to 0.300)" in text
