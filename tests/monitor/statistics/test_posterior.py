"""The posterior by Laplace's method beside exact ones, by quadrature, by closed form and by sampling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from scipy.special import expit

from monitor.statistics.posterior import Posterior, mixture, posterior

Array = npt.NDArray[np.float64]
ROWS = np.array([[70, 1, 1, 1.5, 1], [11, 24, 9, 2, 6], [9, 6, 4, 32, 7]], float)
NONE = np.zeros((3, 5))


def one(
    counts: list[float], labels: Array = NONE, rows: Array = ROWS, shares: object = (0.5, 0.5, 0.5)
) -> Posterior:
    return posterior(np.array([counts], float), labels[None], rows[None], np.array([shares], float))


def ends(found: Posterior) -> list[float]:
    return [float(found.quantile(p)[0]) for p in (0.025, 0.5, 0.975)]


@pytest.mark.parametrize(("yes", "no"), [(0, 0), (0, 10), (3, 0), (2, 5), (40, 160), (1, 3000)])
def test_where_every_call_is_right_it_is_the_beta_distribution(yes: int, no: int) -> None:
    right = np.full((3, 5), 1e-4) + 1e7 * np.eye(3, 5)[:, [0, 1, 3, 2, 4]]
    expected = stats.beta(0.5 + yes, 0.5 + no).ppf([0.025, 0.5, 0.975])
    found = ends(one([7, no, 0, yes, 0], rows=right))
    assert found == pytest.approx(expected.tolist(), rel=0.06, abs=0.002)


@pytest.mark.parametrize(
    ("positive", "sensitivity", "specificity"),
    [(125, (21.96, 5.49), (4.1, 1.76)), (40, (4.44, 13.31), (71.25, 3.75))],
)
def test_strongyloides_of_joseph_gyorkos_and_coupal(
    positive: int, sensitivity: tuple[float, float], specificity: tuple[float, float]
) -> None:
    """Am. J. Epidemiol. 141 (1995) 263: 162 refugees, serology and stool, each test alone; by quadrature."""
    middles = (np.arange(80) + 0.5) / 80
    se, sp = stats.beta(*sensitivity).ppf(middles), stats.beta(*specificity).ppf(middles)
    apparent = middles[:, None, None] * se[:, None] + (1 - middles[:, None, None]) * (1 - sp)
    weight = np.exp(stats.binom.logpmf(positive, 162, apparent)).mean(axis=(1, 2))
    below = np.cumsum(weight) / weight.sum()
    exact = [float(np.interp(p, below, middles + 0.5 / 80)) for p in (0.025, 0.5, 0.975)]
    e = 1e-3
    rows = np.array(
        [
            [1e4, e, e, e, e],
            [e, specificity[0], e, specificity[1], e],
            [e, sensitivity[1], e, sensitivity[0], e],
        ]
    )
    found = ends(one([0, 162 - positive, 0, positive, 0], rows=rows, shares=(0.5, 1, 1)))
    assert found == pytest.approx(exact, abs=0.02)


def sampled(
    counts: list[int], labels: Array, rows: Array, steps: int = 500, chains: int = 300
) -> list[float]:
    """The same by Gibbs sampling, as Joseph, Gyorkos and Coupal do."""
    rng = np.random.default_rng(8)
    theta, confusion = (
        np.full((chains, 3), 1 / 3),
        np.repeat((rows / rows.sum(1, keepdims=True))[None], chains, 0),
    )
    kept = []
    for step in range(steps):
        share = theta[:, :, None] * confusion
        share /= share.sum(axis=1, keepdims=True)
        parts = [rng.multinomial(n, share[:, :, c]) for c, n in enumerate(counts)]
        known = np.stack(parts, axis=-1) + labels
        theta = rng.gamma(0.5 + known.sum(axis=-1)) + 1e-300
        theta /= theta.sum(axis=-1, keepdims=True)
        confusion = rng.gamma(rows + known) + 1e-300
        confusion /= confusion.sum(axis=-1, keepdims=True)
        if step > steps // 4:
            kept.append(theta[:, 2] / (theta[:, 1] + theta[:, 2]))
    return np.percentile(kept, [2.5, 50, 97.5]).tolist()


LABELS = np.array([[5, 1, 1, 1, 1], [1, 4, 5, 0, 1], [0, 0, 1, 6, 4]], float)


@pytest.mark.parametrize(
    ("counts", "labels", "weight"),
    [([60, 30, 10, 12, 8], NONE, 1.0), ([60, 30, 10, 12, 8], LABELS, 1.0), ([100, 50, 20, 0, 0], NONE, 0.3)],
)
def test_beside_gibbs_sampling(counts: list[int], labels: Array, weight: float) -> None:
    rows = 0.2 + weight * ROWS
    assert ends(one([float(n) for n in counts], labels, rows)) == pytest.approx(
        sampled(counts, labels, rows), abs=0.02
    )


def test_where_the_modes_divide_the_prior_keeps_it_sane() -> None:
    """A confusion worth 5 particles: the plain integral piles up where the information is singular."""
    weak = 0.2 + 5 * ROWS / ROWS.sum(axis=1, keepdims=True)
    low, middle, high = ends(one([100, 50, 20, 15, 10], rows=weak))
    assert low < 0.01
    assert 0.1 < middle < 0.3
    assert 0.75 < high < 0.96  # sampled: 0.001, 0.190, 0.870


def test_the_evidence_beside_plain_monte_carlo() -> None:
    rng = np.random.default_rng(2)
    counts, found, drawn = np.array([10, 5, 2, 3, 1.0]), [], []
    for weight in (1.0, 0.2):
        rows = 0.2 + weight * ROWS
        theta = rng.dirichlet([0.5] * 3, 50_000)
        confusion = np.stack([rng.dirichlet(row, 50_000) for row in rows], axis=1)
        likelihood = np.log(np.einsum("nt,ntc->nc", theta, confusion)) @ counts
        drawn.append(np.logaddexp.reduce(likelihood))
        found.append(one(counts.tolist(), rows=rows).log_evidence[0])
    assert found[0] - found[1] == pytest.approx(drawn[0] - drawn[1], abs=0.5)


def test_a_mixture_follows_the_evidence() -> None:
    counts = np.repeat([[20.0, 100, 3, 50, 2]], 2, axis=0)
    rows = np.stack([ROWS, ROWS[:, [0, 2, 1, 4, 3]]])
    shares = np.full((2, 3), 0.5)
    parts = posterior(counts, np.zeros((2, 3, 5)), rows, shares)
    both = mixture(parts, np.array([0.5, 0.5]), shares[:1])
    assert parts.log_evidence[0] > parts.log_evidence[1] + 5
    assert both.quantile(0.5)[0] == pytest.approx(parts.quantile(0.5)[0], abs=0.005)
    assert both.misfit[0] == parts.misfit.min()
    p = expit(both.logit[0])
    assert both.log_prior[0] == pytest.approx(stats.beta(0.5, 0.5).logpdf(p) + np.log(p * (1 - p)))
    assert np.trapezoid(np.exp(both.log_density[0]), both.logit[0]) == pytest.approx(1, abs=0.01)


def test_many_sessions_at_once_are_each_alone() -> None:
    counts = [[60.0, 30, 10, 12, 8], [0.0, 1, 0, 0, 0], [900.0, 30, 10, 12, 14], [5.0, 0, 0, 700, 90]]
    rows, shares = np.repeat(ROWS[None], 4, axis=0), np.full((4, 3), 0.5)
    together = posterior(np.array(counts), np.zeros((4, 3, 5)), rows, shares)
    for i, session in enumerate(counts):
        assert together.quantile(0.975)[i] == pytest.approx(ends(one(session))[2], abs=2e-3)


def test_calls_that_no_mixture_of_rows_gives_misfit() -> None:
    assert one([100, 50, 20, 30, 10]).misfit[0] < 8
    assert one([0, 0, 1000, 0, 500]).misfit[0] > 50
