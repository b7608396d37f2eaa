"""The posterior of the fraction through the confusion of the classifier: deterministic, in milliseconds.

A track has a truth (`other`, `no`, `yes`) with shares θ, and is called one of five categories with the probabilities of
its truth's row of C. Unlabelled tracks are seen by their call alone, with probability m_c = Σ_t θ_t C_tc; labelled ones
by both, with θ_t C_tc. The rows of C have Dirichlet priors, θ too. This is the model of Joseph, Gyorkos and Coupal
(Am. J. Epidemiol. 141, 1995, 263) for more categories, with the labels of double sampling (Tenenbein, J. Am. Stat.
Assoc. 65, 1970, 1350). Where they draw samples (Gibbs), Laplace's method is used here.

The density of logit φ, φ = θ_yes / (θ_no + θ_yes), is found on a grid; at each point everything else is integrated by
Laplace's method (Tierney and Kadane, J. Am. Stat. Assoc. 81, 1986, 82). A Dirichlet row is a row of gamma
variables over their sum; their 15 logarithms x and ψ = logit θ_other are the coordinates, so that the mode is inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.special import expit, gammaln

Array = npt.NDArray[np.float64]

WIDEST = 14.7
"""Of logit φ: fractions below 4e-7 and above 1 − 4e-7 are not told apart."""
POINTS, LAST_POINTS = 13, 25
"""Of the grid: first over everything, then closer and closer to where the density is; and of the last one."""
CLOSER = 4
"""So many grids at most before the last."""
STEPS = 12
"""Newton's steps on a grid at most."""
SETTLED = 0.02
"""No further step where the last one promised a rise of the log density by less."""
DEEP = 14.0
"""Densities below exp(−DEEP) of the highest are left out."""
LEAST = 0.2
"""Of the eigenvalues of the information relative to the prior's. Where the modes divide in two, one of them falls to 0,
and Laplace's integral would be far too large; the prior keeps the true one small."""
LONGEST_STEP = 2.0
"""In x and ψ."""
MIXED_POINTS = 361
MOST = 20_000.0
"""Unlabelled tracks beyond this number change nothing: they are scaled down to it."""

_CALLS = np.arange(5)


@dataclass(frozen=True)
class Posterior:
    """The posterior of the fraction on a grid, for B sessions at once."""

    logit: Array
    """(B, G) logit of the fraction, evenly spaced."""
    log_density: Array
    """(B, G) of logit φ, normalised."""
    log_prior: Array
    """(B, G) prior density of logit φ, normalised."""
    truth_of_call: Array
    """(B, 3, 5) probability of each truth given the call, at the mode."""
    misfit: Array
    """(B,) twice the log of how much likelier the calls and the prior are apart than together: about chi-squared with 2
    degrees of freedom where the calls come from the prior's rows."""
    log_evidence: Array
    """(B,) of the calls and labels under the prior, up to a constant of the session."""

    def quantile(self, p: float) -> Array:
        """(B,) the fraction below which the posterior has the probability p."""
        density = np.exp(self.log_density)
        steps = 0.5 * (density[:, 1:] + density[:, :-1])
        below = np.concatenate([np.zeros((len(density), 1)), np.cumsum(steps, axis=1)], axis=1)
        below /= below[:, -1:]
        found = [np.interp(p, c, x) for c, x in zip(below, self.logit, strict=True)]
        return np.asarray(expit(np.array(found)))


def posterior(counts: Array, labels: Array, prior: Array, shares: Array) -> Posterior:
    """The posterior of the fraction for B sessions.

    Parameters
    ----------
    counts
        (B, 5) unlabelled tracks by call; need not be whole numbers.
    labels
        (B, 3, 5) labelled tracks by truth and call.
    prior
        (B, 3, 5) Dirichlet parameters of the rows of the confusion, above 0.
    shares
        (B, 3) Dirichlet parameters of the shares of the truths, above 0.
    """
    counts = counts * np.minimum(1, MOST / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    given = counts, prior + labels, shares + labels.sum(axis=2)
    grid = np.tile(np.linspace(-WIDEST, WIDEST, POINTS), (len(counts), 1))
    modes = _climb(_begin(grid, *given), POINTS)
    height = modes.log_integral().reshape(grid.shape)
    for _ in range(CLOSER):
        if (height > height.max(axis=1, keepdims=True) - DEEP).sum(axis=1).min() > POINTS // 2:
            break
        grid, modes = _closer(grid, height, modes, POINTS)
        height = modes.log_integral().reshape(grid.shape)
    grid, modes = _closer(grid, height, modes, LAST_POINTS)
    height = modes.log_integral().reshape(grid.shape)
    best = height.argmax(axis=1) + LAST_POINTS * np.arange(len(grid))
    logit, log_density, log_area = _smooth(grid, height)
    constant = gammaln(prior.sum(axis=2)) - gammaln(given[1].sum(axis=2)) - gammaln(prior).sum(axis=2)
    return Posterior(
        logit,
        log_density,
        log_beta(logit, shares[:, 2:], shares[:, 1:2]),
        modes.of_call[best],
        modes.misfit()[best],
        log_area + constant.sum(axis=1) + modes.by_stirling()[best],
    )


def mixture(parts: Posterior, weights: Array, shares: Array) -> Posterior:
    """One posterior of each session under a mixture of M priors, which differ in the rows of the confusion alone.

    Parameters
    ----------
    parts
        Of B x M sessions, the M priors of one session in succession.
    weights
        (M,) of the priors. The posterior's are these times the evidence.
    shares
        (B, 3) Dirichlet parameters of the shares of the truths.
    """
    m = len(weights)
    if m == 1:
        return parts
    sessions = len(parts.misfit) // m
    evidence = parts.log_evidence.reshape(sessions, m) + np.log(weights)
    best = evidence.argmax(axis=1) + m * np.arange(sessions)
    log_weight = (evidence - np.logaddexp.reduce(evidence, axis=1, keepdims=True)).ravel()
    ends = parts.logit.reshape(sessions, m, -1)
    low, high = ends[:, :, 0].min(axis=1)[:, None], ends[:, :, -1].max(axis=1)[:, None]
    logit = low + (high - low) * np.linspace(0, 1, MIXED_POINTS)
    density = np.empty((sessions, m, MIXED_POINTS))
    for i, (x, known) in enumerate(zip(parts.logit, parts.log_density, strict=True)):
        density[i // m, i % m] = log_weight[i] + np.interp(logit[i // m], x, known, -4 * DEEP, -4 * DEEP)
    log_density = np.logaddexp.reduce(density, axis=1)
    misfit = parts.misfit.reshape(sessions, m).min(axis=1)
    log_prior = log_beta(logit, shares[:, 2:], shares[:, 1:2])
    return Posterior(
        logit, log_density, log_prior, parts.truth_of_call[best], misfit, parts.log_evidence[best]
    )


def _smooth(grid: Array, height: Array, points: int = 241) -> tuple[Array, Array, Array]:
    """The normalised log density between the points by cubic splines, and the log of what it was divided by."""
    top = height.max(axis=1, keepdims=True)
    fine = grid[:, :1] + (grid[:, -1:] - grid[:, :1]) * np.linspace(0, 1, points)
    height = np.maximum(height - top, -4 * DEEP)
    curves = zip(grid, height, fine, strict=True)
    height = np.array([CubicSpline(x, h)(between) for x, h, between in curves])
    density, step = np.exp(height), fine[:, 1:2] - fine[:, :1]
    area = step * (density.sum(axis=1, keepdims=True) - 0.5 * (density[:, :1] + density[:, -1:]))
    return fine, height - np.log(area), np.log(area[:, 0]) + top[:, 0]


def log_beta(logit: Array, a: Array, b: Array) -> Array:
    """Log density of logit φ where φ has the beta distribution of a and b."""
    log_phi, log_rest = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
    return np.asarray(a * log_phi + b * log_rest + gammaln(a + b) - gammaln(a) - gammaln(b))


def _closer(grid: Array, height: Array, modes: _Modes, points: int) -> tuple[Array, _Modes]:
    """An even grid over the stretch where the density counts, one step wider at both ends, and the modes on it."""
    counts = height > height.max(axis=1, keepdims=True) - DEEP
    last = grid.shape[1] - 1
    first = np.maximum(counts.argmax(axis=1) - 1, 0)
    beyond = np.minimum(last - counts[:, ::-1].argmax(axis=1) + 1, last)
    session = np.arange(len(grid))[:, None]
    step = (beyond - first)[:, None] / (points - 1)
    place = first[:, None] + step * np.arange(points)
    left = np.minimum(place.astype(int), last - 1)
    part = place - left
    flat = (left + (last + 1) * session).ravel()
    part_ = part.ravel()
    x = modes.x[flat] + part_[:, None, None] * (modes.x[flat + 1] - modes.x[flat])
    psi = modes.psi[flat] + part_ * (modes.psi[flat + 1] - modes.psi[flat])
    closer = grid[session, left] + part * (grid[session, left + 1] - grid[session, left])
    given = modes.u[flat], modes.rows[flat], modes.truths[flat]
    return closer, _climb(_Modes(x, psi, np.asarray(expit(closer.ravel())), *given), points)


def _climb(now: _Modes, points: int) -> _Modes:
    """The modes, by Newton's steps; a step that leads downhill is not made, and the next one is more careful.

    A point takes no further step when it is settled, or so far below the highest of its session's `points` that it is
    of no account.
    """
    x, psi, caution = now.x.copy(), now.psi.copy(), np.full(len(now.psi), 0.1)
    height = now.at_phi()
    moving, part = np.arange(len(psi)), now
    for _ in range(STEPS):
        then, promised = part.moved(caution[moving])
        better = then.height >= part.height - 1e-9 * np.abs(part.height)
        caution[moving] = np.where(better, 0.1 * caution[moving], np.minimum(1, 4 * caution[moving] + 0.1))
        x[moving[better]], psi[moving[better]] = then.x[better], then.psi[better]
        height[moving[better]] = then.at_phi()[better]
        top = np.repeat(height.reshape(-1, points).max(axis=1), points)[moving]
        moving = moving[(promised > SETTLED) & (height[moving] + promised > top - 2 * DEEP)]
        if not len(moving):
            break
        part = _Modes(x[moving], psi[moving], *(a[moving] for a in (now.phi, now.u, now.rows, now.truths)))
    return _Modes(x, psi, now.phi, now.u, now.rows, now.truths)


def _begin(grid: Array, counts: Array, rows: Array, truths: Array, steps: int = 6) -> _Modes:
    """A few steps of expectation and maximisation (Dempster, Laird and Rubin 1977): always uphill, slow at the end."""
    phi = np.asarray(expit(grid.ravel()))
    u, r, t = (np.repeat(a, grid.shape[1], axis=0) for a in (counts, rows, truths))
    total = r.sum(axis=2, keepdims=True)
    confusion = r / total
    everything = t.sum(axis=1) + u.sum(axis=1)
    other = (u[:, 0] + t[:, 0]) / everything
    for _ in range(steps):
        theta = np.stack([other, (1 - other) * (1 - phi), (1 - other) * phi], axis=1)
        joint = theta[:, :, None] * confusion
        expected = u[:, None] * joint / joint.sum(axis=1, keepdims=True)
        by_truth = expected.sum(axis=2)
        confusion = (r + expected) / (total + by_truth[:, :, None])
        other = (t[:, 0] + by_truth[:, 0]) / everything
    return _Modes(np.log(total * confusion), np.log(other) - np.log1p(-other), phi, u, r, t)


class _Modes:
    """A place (x, ψ) for each of P points with its height, gradient and information."""

    def __init__(self, x: Array, psi: Array, phi: Array, u: Array, rows: Array, truths: Array) -> None:
        self.x, self.psi, self.phi, self.u, self.rows, self.truths = x, psi, phi, u, rows, truths
        self.gamma = np.exp(x)
        self.confusion = self.gamma / self.gamma.sum(axis=2, keepdims=True)
        self.other = expit(psi)
        rest = expit(-psi)
        theta = np.stack([self.other, rest * (1 - phi), rest * phi], axis=1)
        joint = theta[:, :, None] * self.confusion
        self.called = joint.sum(axis=1)
        self.of_call = joint / self.called[:, None]
        """P(truth | call)."""
        self.expected = u[:, None] * self.of_call
        self.height = (
            (rows * x - self.gamma).sum(axis=(1, 2))
            + truths[:, 0] * -np.logaddexp(0, -psi)
            + (truths[:, 1] + truths[:, 2]) * -np.logaddexp(0, psi)
            + (u * np.log(self.called)).sum(axis=1)
        )

    def moved(self, caution: Array) -> tuple[_Modes, Array]:
        """A step, Newton's (caution 0) to that of expectation and maximisation (1), and the rise it promises."""
        gradient, information = self._local(caution)
        step = np.linalg.solve(information, gradient[:, :, None])[:, :, 0]
        promised = np.abs((step * gradient).sum(axis=1))
        step *= np.minimum(1, LONGEST_STEP / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1e-9))
        x = self.x + step[:, :15].reshape(-1, 3, 5)
        there = _Modes(x, self.psi + step[:, 15], self.phi, self.u, self.rows, self.truths)
        return there, promised

    def log_integral(self) -> Array:
        """(P,) log density of logit φ up to a constant."""
        _, information = self._local(np.zeros(len(self.psi)))
        beside = np.empty((len(self.psi), 16))
        beside[:, :15] = self.gamma.reshape(-1, 15)
        beside[:, 15] = self.other * (1 - self.other) * self.truths.sum(axis=1)
        relative = information / np.sqrt(beside[:, :, None] * beside[:, None, :])
        values = np.maximum(np.linalg.eigvalsh(relative), LEAST)
        log_det = np.log(values).sum(axis=1) + np.log(beside).sum(axis=1)
        return np.asarray(self.at_phi() - 0.5 * log_det)

    def at_phi(self) -> Array:
        """(P,) height with what φ itself adds."""
        fraction = self.truths[:, 2] * np.log(self.phi) + self.truths[:, 1] * np.log1p(-self.phi)
        return np.asarray(self.height + fraction)

    def misfit(self) -> Array:
        """(P,) see `Posterior.misfit`."""
        total = np.maximum(self.u.sum(axis=1, keepdims=True), 1e-9)
        apart = (self.u * np.log(np.maximum(self.u, 1e-9) / total)).sum(axis=1)
        together = (self.u * np.log(self.called)).sum(axis=1)
        best = self.rows / self.rows.sum(axis=2, keepdims=True)
        moved = (self.rows * np.log(best / self.confusion)).sum(axis=(1, 2))
        return np.asarray(2 * (apart - together + moved))

    def by_stirling(self) -> Array:
        """(P,) log of the factor by which Laplace's method is short where every track's truth is known."""
        known = self.rows + self.expected
        return np.asarray((gammaln(known) - (known - 0.5) * np.log(known) + known).sum(axis=(1, 2)))

    def _local(self, caution: Array) -> tuple[Array, Array]:
        """Gradient (P, 16) and information (P, 16, 16): complete less (1 − caution) of what is missing.

        What is missing is the covariance of the complete data's score given the calls (Louis, J. R. Stat. Soc. B 44,
        1982, 226).
        """
        points, calls, expected, other = len(self.psi), self.confusion, self.expected, self.other
        by_truth, known = expected.sum(axis=2), self.truths.sum(axis=1) + self.u.sum(axis=1)
        share = by_truth[:, :, None] * calls
        gradient = np.empty((points, 16))
        gradient[:, :15] = (self.rows + expected - self.gamma - share).reshape(points, 15)
        gradient[:, 15] = self.truths[:, 0] + by_truth[:, 0] - other * known
        missing = 1 - caution
        score = np.empty((points, 5, 16))
        """Mean score of a track of each call."""
        turned = -self.of_call[:, :, :, None] * calls[:, :, None, :]
        turned[:, :, _CALLS, _CALLS] += self.of_call
        score[:, :, :15] = turned.transpose(0, 2, 1, 3).reshape(points, 5, 15)
        score[:, :, 15] = self.of_call[:, 0] - other[:, None]
        information = (score * (missing[:, None] * self.u)[:, :, None]).transpose(0, 2, 1) @ score
        for t in range(3):
            here = slice(5 * t, 5 * t + 5)
            cross = expected[:, t, :, None] * calls[:, t, None]
            outer = share[:, t, :, None] * calls[:, t, None]
            lost = outer - cross - cross.transpose(0, 2, 1)
            lost[:, _CALLS, _CALLS] += expected[:, t]
            block = -outer - missing[:, None, None] * lost
            block[:, _CALLS, _CALLS] += self.gamma[:, t] + share[:, t]
            information[:, here, here] += block
            side = 1 - other if t == 0 else -other
            mixed = (missing * side)[:, None] * (expected[:, t] - share[:, t])
            information[:, here, 15] -= mixed
            information[:, 15, here] -= mixed
        lost_other = by_truth[:, 0] * (1 - other) ** 2 + (by_truth[:, 1] + by_truth[:, 2]) * other**2
        information[:, 15, 15] += other * (1 - other) * known - missing * lost_other
        return gradient, information
