"""Arguments of several commands of a session.

Where an option is not given (None), the other places for settings decide.
"""

from __future__ import annotations

from pathlib import Path

from monitor.commandline import (
    bundle,
    choice,
    flag,
    keep,
    not_negative,
    option,
    place,
    port,
    positive,
    positive_number,
)

RECORDED = place("recorded", "SESSION", "the session's folder", type=Path)
MODEL = (
    option("--bundle", bundle, "DIR", "the model: a folder, or the name of one that comes with the program"),
    choice("--device", ("auto", "cpu", "cuda"), "what judges frames (auto)"),
)
MOVIE = choice(
    "--movie",
    ("sum", "frames", "first"),
    "a movie of one field: align and sum it, or judge each exposure, or the first",
)
ANALYSIS = (
    option("--pixel-size", positive_number, "NM", "for frames that do not say theirs [nm/px]"),
    option("--force-pixel-size", positive_number, "NM", "in place of what frames say [nm/px]"),
    MOVIE,
    option("--material", str, "NAME", "what the particles are made of (any that is known)"),
    *MODEL,
)
WORKERS = option("--workers", positive, "N", "analysing processes")
SCHEDULER = option(
    "--scheduler", str, "ADDRESS", "of a Dask scheduler whose workers analyse (tcp://HOST:8786)"
)
PORT = option("--port", port, "PORT", "of the page, 0 for any free one (5006)")
SHARED = (
    flag("--share", "let others see the page, who have one of the two links that are printed", None),
    option("--host", str, "ADDRESS", "where the page listens (127.0.0.1; with --share everywhere)"),
    option("--prefix", str, "PATH", "the path under which a reverse proxy has the page"),
    option(
        "--origin",
        str,
        "URL",
        "how browsers know the reverse proxy: https://NAME; may be repeated",
        action="append",
    ),
)
SESSION = (
    option("--session", Path, "DIR", "the session's folder (sessions/<date>-<time>)"),
    *ANALYSIS,
    WORKERS,
    SCHEDULER,
    flag("--no-dashboard", "without the page", None, dest="dashboard", action="store_false"),
    flag("--no-browser", "open no browser", True, dest="browser", action="store_false"),
    PORT,
    *SHARED,
    flag("--latest-first", "analyse the newest frame first", None),
    option("--keep", keep, "all|none|GB", "how much of what sockets brought stays on disk (all)"),
    option(
        "--publish", str, "ADDRESS", "publish what is found as JSON on this ZeroMQ address (tcp://HOST:PORT)"
    ),
    option("--on-alarm", str, "COMMAND|URL", "call it when an alarm is raised or cleared"),
    option("--until-idle", not_negative, "S", "end after S seconds with nothing to do (never)"),
)
SETTINGS = (
    "session", "pixel_size", "force_pixel_size", "movie", "bundle", "material", "device", "workers", "scheduler",
    "dashboard", "port", "share", "host", "prefix", "origin", "latest_first", "keep", "until_idle", "publish",
    "on_alarm",
)  # fmt: skip
"""What `SESSION` sets of `monitor.settings.WatchSettings`."""
