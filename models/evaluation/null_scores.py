"""What becomes of `null` particles, by zone and by specimen: the leak of `null` into `no` and `yes`.

A specimen has one exit wave, which all its images share: a wave that is called wrongly once is called so again, and
the share of a session that one wave has decides what that costs. So the leak is told for every specimen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.results import CLASSES

NULL, NO, YES = (CLASSES.index(name) for name in ("null", "no", "yes"))
ALONG_DEG = 5.0
"""Up to this tilt off the nearest low-index zone a particle counts as seen along it [°]."""
BETWEEN = "between zones"
LEAKY = 0.3
"""A specimen of whose `null` regions more than this share is called `no` or `yes` is told by name."""

ENOUGH = 4
"""Regions of a specimen from which its share says something: of fewer, one call decides."""


def zone_of(particle: dict[str, Any]) -> str:
    """The zone along which a particle is seen, from its truth; `BETWEEN` where there is none near."""
    zone, tilt = particle.get("zone"), particle.get("zone_tilt")
    return str(zone) if zone is not None and tilt is not None and tilt <= ALONG_DEG else BETWEEN


def null_scores(
    truths: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.floating],
    zones: Sequence[str],
    specimens: Sequence[str],
) -> dict[str, Any]:
    """`all`, `by_zone`, `by_specimen` (the leakiest first) and `specimens_over`: how many leak more than `LEAKY`.

    Parameters
    ----------
    truths : (R,) class of each region; those that are not `null` are passed over.
    probabilities : (R, 4).
    zones, specimens : of each region.
    """
    here = truths == NULL
    called, zone = probabilities.argmax(axis=1)[here], np.array(zones, dtype=np.str_)[here]
    specimen = np.array(specimens, dtype=np.str_)[here]
    by_specimen = {name: _shares(called[specimen == name]) for name in np.unique(specimen).tolist()}
    leak = {name: row["no"] + row["yes"] for name, row in by_specimen.items()}
    return {
        "all": _shares(called),
        "by_zone": {name: _shares(called[zone == name]) for name in np.unique(zone).tolist()},
        "by_specimen": {name: by_specimen[name] for name in sorted(leak, key=lambda n: (-leak[n], n))},
        "specimens_over": sum(share > LEAKY for share in leak.values()),
    }


def _shares(called: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Of regions that are `null` in truth: how many, and the shares that are called `null`, `no` and `yes`."""
    count = max(1, len(called))
    return {
        "regions": len(called),
        "recall": float((called == NULL).sum() / count),
        "no": float((called == NO).sum() / count),
        "yes": float((called == YES).sum() / count),
    }
