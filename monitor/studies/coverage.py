"""How often the intervals of the fraction cover the truth: `python -m monitor.studies.coverage`.

Sessions are drawn from a confusion matrix: fields of tracks, the truth of each, its call, audits. The bundle's own
sample is drawn anew for every session, so that what it does not know of its rates is in the figures. The estimate
sees what it would see in a session: calls by field, labels, and the drawn confusion.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from monitor.statistics.audit import draw
from monitor.statistics.confusion import Confusion
from monitor.statistics.design import design_effect
from monitor.statistics.estimate import (
    SHARES,
    confidence_sequence,
    enough_known,
    posterior_of,
    prior_rows,
)
from monitor.statistics.strata import by_stratum

Array = npt.NDArray[np.float64]

#: Particles by truth and call that a shipped bundle never saw (rounded), and those of its overview microscope alone.
TRAINING = np.array([[687, 4, 6, 13, 8], [28, 62, 24, 5, 15], [29, 18, 11, 102, 23]], float)
OVERVIEW = np.array([[264, 0.5, 2.5, 1.5, 2], [10.5, 8.5, 3, 1, 0.5], [10, 1, 5, 20, 8]], float)
ANOTHER = 60.0
"""Concentration of the rates of another microscope around those of the training, where they are drawn."""
STICK = 0.8
"""How likely a sighting repeats the call that its particle has for good, instead of one of its own."""
SCORED_A_FIELD, FIELDS = 6, 25
TRUTHS = (0.02, 0.05, 0.20, 0.50)
BATCH = 50


@dataclass(frozen=True)
class Scenario:
    """What sessions are like."""

    rates: str = "training"
    """`training`, `overview`, or `another`: drawn anew for each session."""
    others: int = 1
    """Tracks without resolved stacking to one with."""
    sightings: int = 1
    correlation: float = 0.0
    """Of the fraction within fields."""
    labels: int = 0

    @property
    def title(self) -> str:
        """Cells of a row of the table."""
        return f"| {self.rates} | {self.others} | {self.sightings} | {self.correlation:g} | {self.labels} |"


@dataclass(frozen=True)
class Sessions:
    """B sessions: calls (B, fields, tracks), truths alike, and what the bundle knows (B, 3, 5)."""

    truth: npt.NDArray[np.int64]
    called: npt.NDArray[np.int64]
    bundle: Array


def simulate(scenario: Scenario, fraction: float, sessions: int, rng: np.random.Generator) -> Sessions:
    """Draw sessions."""
    true_rates = TRAINING / TRAINING.sum(axis=1, keepdims=True)
    particles = TRAINING.sum(axis=1).astype(int)
    bundle = np.stack(
        [rng.multinomial(n, p, sessions) for n, p in zip(particles, true_rates, strict=True)], 1
    )
    rates = np.repeat(true_rates[None], sessions, axis=0)
    if scenario.rates == "overview":
        rates = np.repeat(((OVERVIEW + 0.1) / (OVERVIEW + 0.1).sum(axis=1, keepdims=True))[None], sessions, 0)
    elif scenario.rates == "another":
        rates = rng.gamma(ANOTHER * rates)
        rates /= rates.sum(axis=2, keepdims=True)
    of_field = np.full((sessions, FIELDS), fraction)
    if scenario.correlation:
        more = 1 / scenario.correlation - 1
        of_field = rng.beta(fraction * more, (1 - fraction) * more, (sessions, FIELDS))
    scored = 1 + (rng.random((sessions, FIELDS, SCORED_A_FIELD)) < of_field[:, :, None])
    others = np.zeros((sessions, FIELDS, SCORED_A_FIELD * scenario.others), int)
    truth = np.concatenate([scored, others], axis=2)
    below = rates.cumsum(axis=2)[np.arange(sessions)[:, None, None], truth]

    def call() -> npt.NDArray[np.int64]:
        return np.asarray((rng.random(truth.shape)[..., None] > below[..., :4]).sum(axis=-1), int)

    called = call()
    if scenario.sightings > 1:
        called = _combined(called, call, scenario.sightings, rng)
    return Sessions(truth, called, bundle.astype(float))


def _combined(
    own: npt.NDArray[np.int64], call: object, sightings: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The call of a track from several sightings: the class with most votes, sure where most of these are."""
    assert callable(call)
    votes = np.zeros((*own.shape, 5))
    for _ in range(sightings):
        seen = np.where(rng.random(own.shape) < STICK, own, call())
        votes += seen[..., None] == np.arange(5)
    classes = np.stack([votes[..., 0], votes[..., 1] + votes[..., 2], votes[..., 3] + votes[..., 4]], axis=-1)
    won = classes.argmax(axis=-1)
    doubtful = np.where(won == 1, votes[..., 2] > votes[..., 1], votes[..., 4] > votes[..., 3])
    return np.where(won == 0, 0, 2 * won - 1 + doubtful)


@dataclass(frozen=True)
class Figures:
    """Of some sessions: intervals, sequences, and which of them were not given."""

    interval: Array
    """(B, 2)"""
    sequence: Array
    """(B, 2)"""
    given: npt.NDArray[np.bool_]
    """(B,)"""


def judge(sessions: Sessions, fields: int, labels: int, seed: int) -> Figures:
    """What the estimate says of the sessions' first fields."""
    truth = sessions.truth[:, :fields].reshape(len(sessions.truth), -1)
    called = sessions.called[:, :fields]
    counts, labelled, effects = [], [], []
    for one, (t, by_field) in enumerate(zip(truth, called, strict=True)):
        c = by_field.ravel()
        chosen = list(draw(c, np.zeros(len(c), bool), labels, seed + one).tracks)
        table = np.zeros((3, 5))
        np.add.at(table, (t[chosen], c[chosen]), 1)
        labelled.append(table)
        counts.append(np.bincount(c, minlength=5) - table.sum(axis=0))
        effects.append(design_effect((by_field >= 3).sum(axis=1), (by_field >= 1).sum(axis=1)))
    priors = [prior_rows(Confusion(bundle)) for bundle in sessions.bundle]
    shares = np.tile(SHARES, (len(truth), 1))
    rows, weights = np.array([rows for rows, _ in priors]), priors[0][1]
    found = posterior_of(np.array(counts), np.array(labelled), rows, weights, np.array(effects), shares)
    interval = np.stack([found.quantile(0.025), found.quantile(0.975)], axis=1)
    return Figures(interval, np.array(confidence_sequence(found)), enough_known(found, labels))


def _hit(ends: Array, fraction: float) -> npt.NDArray[np.bool_]:
    return (ends[:, 0] <= fraction) & (fraction <= ends[:, 1])


def one_look(scenario: Scenario, fraction: float, sessions: int, seed: int) -> str:
    """Cells of the table for one look at the end: coverage, width, width of the sequence, share without interval."""
    rng = np.random.default_rng([seed, round(1000 * fraction)])
    parts = []
    for first in range(0, sessions, BATCH):
        drawn = simulate(scenario, fraction, min(BATCH, sessions - first), rng)
        parts.append(judge(drawn, FIELDS, scenario.labels, seed + first))
    interval, sequence, given = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("interval", "sequence", "given")
    )
    hit, width = _hit(interval, fraction)[given].mean(), np.ptp(interval[given], axis=1).mean()
    wide, without = np.ptp(sequence[given], axis=1).mean(), 1 - given.mean()
    return f" {hit:.3f} ({width:.2f}; {wide:.2f})" + (f" −{without:.3f}" if without else "") + " |"


def every_look(scenario: Scenario, fraction: float, sessions: int, seed: int) -> str:
    """Cells of the table for looks after every second field: share of sessions in which all looks cover.

    An audit is made after half of the fields, and stays. A look without an interval covers.
    """
    rng = np.random.default_rng([seed, 7, round(1000 * fraction)])
    hits = []
    for first in range(0, sessions, BATCH):
        drawn = simulate(scenario, fraction, min(BATCH, sessions - first), rng)
        good = np.ones((2, len(drawn.truth)), bool)
        for fields in range(1, FIELDS + 1, 2):
            audited = scenario.labels if fields > FIELDS // 2 else 0
            now = judge(drawn, fields, audited, seed + first)
            good &= np.stack([_hit(ends, fraction) | ~now.given for ends in (now.interval, now.sequence)])
        hits.append(good)
    interval, sequence = np.concatenate(hits, axis=1).mean(axis=1)
    return f" {sequence:.3f} ({interval:.3f}) |"


def by_sizes(scenario: Scenario, fraction: float, sessions: int, seed: int) -> str:
    """Cells of the table for three sizes with half, one, and one and a half times the fraction: coverages, width.

    The sizes have a half, a third and a sixth of the tracks of a session.
    """
    rng = np.random.default_rng([seed, 9, round(1000 * fraction)])
    truths = fraction * np.array([0.5, 1.0, 1.5])
    hits, widths = [], []
    for _ in range(sessions):
        tables, labelled = np.zeros((3, 5)), np.zeros((3, 3, 5))
        for size, (fields, true) in enumerate(zip((12, 8, 4), truths.tolist(), strict=True)):
            drawn = simulate(scenario, true, 1, rng)
            bundle = Confusion(drawn.bundle[0])
            called, truth = drawn.called[0, :fields].ravel(), drawn.truth[0, :fields].ravel()
            number = round(scenario.labels * fields / 24)
            chosen = list(draw(called, np.zeros(len(called), bool), number, seed).tracks)
            np.add.at(labelled[size], (truth[chosen], called[chosen]), 1)
            tables[size] = np.bincount(called, minlength=5) - labelled[size].sum(axis=0)
        found = [one.interval for one in by_stratum(tables, bundle, labelled)]
        hits.append([e is None or e[0] <= t <= e[1] for e, t in zip(found, truths.tolist(), strict=True)])
        widths.append([np.nan if e is None else e[1] - e[0] for e in found])
    each = ", ".join(f"{share:.3f}" for share in np.mean(hits, axis=0))
    return f" {each} ({np.nanmean(widths):.2f}) |"


def scenarios() -> list[Scenario]:
    """Those of the first table."""
    start = Scenario()
    return [
        *(replace(start, others=n) for n in (1, 4, 10)),
        replace(start, sightings=5),
        replace(start, correlation=0.1),
        replace(start, sightings=5, others=4, correlation=0.1),
        *(replace(start, labels=n) for n in (20, 50, 100)),
        replace(start, others=4, labels=50),
        *(replace(start, rates="another", labels=n) for n in (0, 20, 50, 100)),
        *(replace(start, rates="overview", labels=n) for n in (0, 20, 50, 100)),
        replace(start, rates="overview", others=4, labels=50),
    ]


def watched() -> list[Scenario]:
    """Those that are looked at all the time."""
    start = Scenario()
    return [start, replace(start, correlation=0.1), replace(start, rates="overview", labels=50)]


HEAD = "| rates | other:scored | sightings | correlation | labels |" + "".join(f" {t:.0%} |" for t in TRUTHS)
RULE = "|" + "---|" * (5 + len(TRUTHS))


def main(arguments: list[str] | None = None) -> int:
    """Print the tables in Markdown: one look, every look, by size; 0 sessions leave a table out."""
    parser = argparse.ArgumentParser(
        prog="python -m monitor.studies.coverage", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--sessions", type=int, default=2000, metavar="N", help="of each cell of the first table (2000)"
    )
    parser.add_argument(
        "--looked-at", type=int, default=2000, metavar="N", help="the same of the second table (2000)"
    )
    parser.add_argument(
        "--by-size", type=int, default=500, metavar="N", help="the same of the third table (500)"
    )
    parser.add_argument("--seed", type=int, default=20261128, metavar="S", help="everything follows from it")
    options = parser.parse_args(arguments)
    tables = (
        (one_look, scenarios(), options.sessions),
        (every_look, watched(), options.looked_at),
        (by_sizes, [Scenario(), Scenario(labels=50)], options.by_size),
    )
    asked = [table for table in tables if table[2]]
    with tqdm(total=sum(len(rows) for _, rows, _ in asked) * len(TRUTHS), unit="cell", disable=None) as bar:
        for table, rows, number in asked:
            tqdm.write(f"\n{HEAD}\n{RULE}")
            for scenario in rows:
                line = scenario.title
                for fraction in TRUTHS:
                    line += table(scenario, fraction, number, options.seed)
                    bar.update()
                tqdm.write(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
