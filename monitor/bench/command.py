"""`faultwatch bench`: measures, tells, draws."""

from __future__ import annotations

import json
from pathlib import Path

from monitor.bench.picture import draw_picture
from monitor.bench.plan import Plan
from monitor.bench.run import Bench
from monitor.bench.text import as_text

INTERRUPTED = 130
"""What a shell reports of a program that was ended by Ctrl-C."""


def bench(plan: Plan, *, as_json: bool, picture: Path | None = None, bundle: Path | None = None) -> int:
    """Measure, and print what was found; returns the exit status, 130 where it was ended by Ctrl-C.

    Parameters
    ----------
    picture : a PNG that is written too.

    Raises
    ------
    InputError
        A part of the measurement failed.
    """
    run, status = Bench(plan, bundle), 0
    try:
        run.measure()
    except KeyboardInterrupt:
        status = INTERRUPTED
    told = run.found.told()
    print(json.dumps(told, allow_nan=False) if as_json else as_text(told), flush=True)
    if picture is not None:
        draw_picture(told, picture)
    return status
