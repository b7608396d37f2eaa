"""`faultwatch bench`: measures, tells, draws."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from monitor.bench.picture import draw_picture
from monitor.bench.plan import Plan
from monitor.bench.run import Bench
from monitor.bench.text import as_text

INTERRUPTED = 130
"""What a shell reports of a program that was ended by Ctrl-C."""


def bench(plan: Plan, *, as_json: bool, picture: Path | None = None, bundle: Path | None = None) -> int:
    """Measure, and print what was found; returns the exit status, 130 where it was ended by Ctrl-C or SIGTERM.

    Parameters
    ----------
    picture : a PNG that is written too.

    Raises
    ------
    InputError
        A part of the measurement failed; what was found before that is printed all the same.
    """
    run, status = Bench(plan, bundle), 0
    for early in (signal.SIGINT, signal.SIGTERM):  # the first may have been inherited as ignored
        signal.signal(early, signal.default_int_handler)
    try:
        run.measure()
    except KeyboardInterrupt:
        status = INTERRUPTED
    finally:
        _tell(run.found.told(), as_json, picture)
    return status


def _tell(told: dict[str, Any], as_json: bool, picture: Path | None) -> None:
    print(json.dumps(told, allow_nan=False) if as_json else as_text(told), flush=True)
    if picture is not None:
        draw_picture(told, picture)
