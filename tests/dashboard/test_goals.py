"""The goal follows the record, and costs no more than its share of the time."""

import pytest

from dashboard import goals
from dashboard.goals import GoalReader


class Timer:
    """Every look at it takes as long as is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def followed(session):
    session.place(session.analysed("yes", "no", "no"))
    return session


def test_a_goal_is_worked_out_again_only_where_the_figures_are_others(followed, monkeypatch) -> None:
    worked = []
    real = goals.standing
    monkeypatch.setattr(goals, "standing", lambda db: worked.append(1) or real(db))
    reader = GoalReader(lambda: 0.0)
    first = reader.read(followed.db, 0.05)
    assert reader.read(followed.db, 0.05) is first
    assert reader.read(followed.db, 0.2).half_width == 0.2
    assert len(worked) == 2
    followed.place(followed.analysed("yes", "no"), 2)
    assert reader.read(followed.db, 0.05) is not first
    assert len(worked) == 3


def test_it_stays_as_it_was_while_another_would_cost_too_much(followed) -> None:
    timer = Timer()
    reader = GoalReader(timer)
    timer.step = 1.0  # 2 s of work
    first = reader.read(followed.db, 0.05)
    timer.step = 0.0
    followed.place(followed.analysed("yes", "no"), 2)
    assert reader.read(followed.db, 0.05) is first
    timer.now += 100
    assert reader.read(followed.db, 0.05) is not first


def test_goals_that_nobody_asks_for_any_more_are_forgotten(followed) -> None:
    reader = GoalReader(lambda: 0.0)
    for percent in range(1, 41):
        reader.read(followed.db, percent / 100)
    assert len(reader._goals) <= goals._KEPT
