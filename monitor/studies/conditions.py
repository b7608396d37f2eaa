"""How much a bundle's rates differ between its own conditions: `python -m monitor.studies.conditions`.

The rows of `no` and `yes` in the strata of one condition (dose, microscope, diameter) are taken as draws from Dirichlet
distributions around the row of all strata together; their concentration is found by maximum likelihood, its interval by
the likelihood ratio. `monitor.statistics.estimate.CONDITIONS` stands on it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from models.bundle import load_bundle
from models.confusion import confusion_of as of_bundle
from monitor.statistics.confusion import Confusion, pooled

CONCENTRATIONS = np.geomspace(5, 5000, 121)
HALF_CHI_SQUARED = 1.92
"""Half of the 95 % quantile of chi-squared with 1 degree of freedom."""


def concentration(strata: list[Confusion]) -> tuple[float, float, float]:
    """The likeliest concentration and the ends of its 95 % interval, each between 5 and 5000."""
    counts = np.array([one.counts[1:] for one in strata])
    pooled = counts.sum(axis=0) + 0.2
    shares = pooled / pooled.sum(axis=1, keepdims=True)
    height = np.array([_log_likelihood(counts, k * shares) for k in CONCENTRATIONS])
    inside = CONCENTRATIONS[height > height.max() - HALF_CHI_SQUARED]
    return float(CONCENTRATIONS[height.argmax()]), float(inside[0]), float(inside[-1])


def _log_likelihood(counts: npt.NDArray[np.float64], prior: npt.NDArray[np.float64]) -> float:
    """Of the Dirichlet-multinomial distribution, without what does not depend on the prior."""
    total = gammaln(prior.sum(axis=1)) - gammaln(prior.sum(axis=1) + counts.sum(axis=2))
    return float(total.sum() + (gammaln(prior + counts) - gammaln(prior)).sum())


def main(arguments: list[str] | None = None) -> int:
    """Print the concentration of each condition; returns 1 where the bundle has no strata."""
    parser = argparse.ArgumentParser(
        prog="python -m monitor.studies.conditions", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="the shipped one by default")
    options = parser.parse_args(arguments)
    bundle = load_bundle(options.bundle) if options.bundle else load_bundle()
    told = of_bundle(bundle.details)
    if told is None or not told.strata:
        return 1
    for condition in dict.fromkeys(stratum.what for stratum in told.strata):
        tables = [pooled(stratum.counts) for stratum in told.strata if stratum.what == condition]
        likeliest, low, high = concentration([table for table in tables if table is not None])
        print(f"{condition:<12} {likeliest:5.0f} (95 %: {low:.0f} to {high:.0f})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
