"""The study of classifiers chooses without the test, and its figures mean what they say."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.examples.rows import COLUMNS, Rows
from models.results import CLASSES
from models.studies import classifiers
from models.studies.classifiers import (
    BOOSTED,
    PLAIN,
    Way,
    at_equal_recall,
    chosen_way,
    compare,
    figures,
    main,
    probabilities,
    tables_of,
)

NULL, NO, YES = (CLASSES.index(name) for name in ("null", "no", "yes"))


def rows_of(specimens: list[str], seed: int, each: int = 12) -> Rows:
    """Rows whose class shows in three features, with some noise."""
    rng = np.random.default_rng(seed)
    specimen = np.repeat(specimens, each)
    classes = rng.integers(0, len(CLASSES), len(specimen))
    features = np.eye(len(CLASSES))[classes] + rng.normal(0, 0.35, (len(specimen), len(CLASSES)))
    count = len(specimen)
    return Rows(
        features.astype(np.float32),
        classes,
        np.array([f"{name}/{n}" for n, name in enumerate(specimen)]),
        specimen,
        np.full(count, 300.0),
        np.full(count, "corrected"),
        np.full(count, 4.0),
        np.full(count, "train"),
        np.ones(count, bool),
        ["a", "b", "c", "d"],
    )


@pytest.fixture(scope="module")
def learn() -> Rows:
    return rows_of([f"lattice-1-{n}" for n in range(8)], 0)


@pytest.fixture(scope="module")
def check() -> Rows:
    rows = rows_of([f"lattice-1-{n}" for n in (8, 9, 18, 19, 28, 29)], 1)
    return replace(rows, split=np.where(np.char.endswith(rows.specimen, "8"), "validation", "test"))


def test_a_threshold_turns_doubtful_calls_into_null() -> None:
    judged = np.array([[0.0, 0.3, 0.1, 0.6], [0.0, 0.2, 0.7, 0.1], [0.6, 0.4, 0.0, 0.0], [0, 0.9, 0, 0.1]])
    called = probabilities(Way("t", threshold=0.25), judged)
    assert called.argmax(axis=1).tolist() == [NULL, NO, CLASSES.index("empty"), NULL]
    np.testing.assert_array_equal(called[1:], judged[1:])
    assert probabilities(PLAIN, judged) is judged


def test_the_leak_is_the_share_of_null_called_yes_or_no() -> None:
    truth = np.array([NULL, NULL, NULL, NULL, YES, NO])
    judged = np.eye(4)[[NULL, YES, NO, CLASSES.index("empty"), NULL, NO]]
    found = figures(truth, judged)
    assert found["null_leaks"] == 0.5
    assert found["null_recall"] == 0.25
    assert (found["yes_recall"], found["no_recall"]) == (0.0, 1.0)


def test_leaks_are_compared_at_equal_recall() -> None:
    """Of two that differ in nothing but how readily they say `null`, none is better."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 4000)
    judged = np.eye(4)[truth] + rng.exponential(0.7, (4000, 4))
    eager = judged.copy()
    eager[:, NULL] *= 1.7
    plain, other = figures(truth, judged), figures(truth, eager)
    assert other["null_leaks"] < 0.7 * plain["null_leaks"]
    for name in ("leaks_at_recall", "f1_at_recall"):
        assert other[name] == pytest.approx(plain[name], abs=1e-9)
    equal = at_equal_recall(truth, judged)
    assert (equal.argmax(axis=1) == NULL)[truth == NULL].mean() == pytest.approx(0.95, abs=0.002)
    none = truth != NULL
    assert at_equal_recall(truth[none], judged[none]) is not equal
    np.testing.assert_array_equal(at_equal_recall(truth[none], judged[none]), judged[none])


def test_the_choice_is_the_least_leak_that_costs_little() -> None:
    plain = {"macro_f1": 0.8, "null_leaks": 0.10}
    told = {way.name: plain for way in classifiers.WAYS}
    cautious, costly = "forest, null from p = 0.2", "forest, null from p = 0.05"
    told |= {cautious: {"macro_f1": 0.795, "null_leaks": 0.03}, costly: {"macro_f1": 0.5, "null_leaks": 0.0}}
    told[BOOSTED.name] = {"macro_f1": 0.9, "null_leaks": 0.0}
    assert chosen_way(told) == cautious


def test_the_test_specimens_choose_nothing(learn: Rows, check: Rows) -> None:
    """With classes shuffled on the test alone, everything that is said of validation stays as it was."""
    told = compare(learn, check, trees=8, seed=0, null_weighs=2.0, tell=lambda _: None)
    on_test = check.split == "test"
    classes = check.classes.copy()
    classes[on_test] = np.random.default_rng(5).permutation(classes[on_test])
    lied = replace(check, classes=classes)
    other = compare(learn, lied, trees=8, seed=0, null_weighs=2.0, tell=lambda _: None)
    assert other["validation"] == told["validation"]
    assert other["chosen"] == told["chosen"]
    assert other["test"][PLAIN.name]["macro_f1"][0] < told["test"][PLAIN.name]["macro_f1"][0] - 0.2
    value, low, high = told["test"][PLAIN.name]["macro_f1"]
    assert 0.7 < low <= value <= high <= 1
    assert told["regions"] == {"learnt": 96, "validation": 36, "test": 36}
    assert BOOSTED.name in told["more_than_the_forest"]


def test_the_command_prints_what_it_writes(
    learn: Rows, check: Rows, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rows in (("a", learn), ("b", check)):
        crops = np.zeros((len(rows.classes), 96, 96), np.int8)
        crops[:, 20:76] = 40 * rows.classes[:, None, None]  # brighter for each class: easily learnt
        columns = {column: getattr(rows, column) for column in COLUMNS}
        np.savez(tmp_path / f"{name}.npz", names=rows.names, crops=crops, **columns)
    arguments = [str(tmp_path), "--trees", "4", "--epochs", "1", "--json", str(tmp_path / "told.json")]
    assert main(arguments) == 0
    told = json.loads((tmp_path / "told.json").read_text())
    printed = capsys.readouterr().out
    assert all(table.as_text() in printed for table in tables_of(told))
    assert {PLAIN.name, BOOSTED.name, "small CNN"} <= set(told["test"])
    with pytest.raises(SystemExit) as left:
        main([str(tmp_path / "none")])
    assert left.value.code == 1
