"""The command line of faultwatch. What makes the models is in `workshop`.

Every command is a function with its arguments above it; its docstring is its help. A command imports what it needs
when it runs, so that `faultwatch --help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import workshop
from monitor.arguments import ANALYSIS, MODEL, PORT, RECORDED, SESSION, SETTINGS, SHARED, WORKERS
from monitor.commandline import (
    JSON,
    Commands,
    about,
    choice,
    flag,
    given,
    option,
    parser_of,
    place,
    positive,
    positive_number,
    refused,
    side,
    tell,
)

INTERRUPTED = 130
"""What a shell reports of a program that was ended by Ctrl-C."""
OPTIONAL = {
    "training": ("abtem", "onnx", "onnxscript", "pyfftw", "safetensors", "torch"),
    "cluster": ("distributed",),
    "parquet": ("pyarrow",),
}
"""Packages of each extra, which a plain installation does without."""

DESCRIPTION = (
    "Watches a high-resolution TEM session: finds the particles in every frame as it arrives and shows how many of "
    "them have a stacking fault."
)
GROUPS = {"train": "Train the models on a data set."}
COMMANDS = Commands()
command = COMMANDS.add


def parser() -> argparse.ArgumentParser:
    """The whole command line: the commands of a session, and those that make its models."""
    return parser_of("faultwatch", DESCRIPTION, GROUPS, COMMANDS, workshop.COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 wrong input, 2 wrong usage, 130 Ctrl-C."""
    import sqlite3

    from models.errors import ModelError
    from monitor.errors import FaultwatchError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console that can't show Å or × gets a question mark
            stream.reconfigure(errors="replace")
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output (`| head`) has gone; what is still buffered must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (FaultwatchError, ModelError) as error:
        said = about(getattr(error, "path", None), " ".join(str(error).split()))
    except sqlite3.Error as error:
        folder = getattr(options, "recorded", None) or getattr(options, "session", None) or "the session"
        said = f"{folder}: the record can't be used ({' '.join(str(error).split())})"
    except OSError as error:  # a full disk, a missing right: what the system refused, and where
        said = refused(error)
    except ModuleNotFoundError as error:
        extra = [name for name, modules in OPTIONAL.items() if (error.name or "").split(".")[0] in modules]
        if not extra:
            raise
        said = f"this command needs more packages: pip install 'faultwatch[{extra[0]}]' ({error.name} is missing)"
    print(f"faultwatch: {said}", file=sys.stderr)
    return 1


# -- a session and what is read from it ----------------------------------------------------------------------------


@command(
    "watch",
    place("sources", "SOURCE", "a directory, or a ZeroMQ address", nargs="+"),
    *SESSION,
    flag("--new-only", "skip what is in the directories already", None),
)
def watch(options: argparse.Namespace) -> int:
    """Watch directories and sockets, analyse every frame, show the statistics.

    SOURCE is a directory (with its sub-directories) or a ZeroMQ address: tcp://HOST:PORT binds a PULL socket,
    tcp+connect://HOST:PORT connects it, sub://HOST:PORT subscribes, ack://HOST:PORT binds the acknowledging socket.
    dectris+tcp://HOST:PORT listens to a DECTRIS detector, de://HOST:PORT follows a Direct Electron camera server.
    Ctrl-C ends the session; the same --session goes on with it.
    """
    from monitor.companions import page
    from monitor.settings import load_settings
    from monitor.watch import watch as run

    settings = load_settings(**given(options, "sources", "new_only", *SETTINGS))
    return run(settings, dashboard=page(settings.dashboard, settings.page_arguments(), options.browser))


@command(
    "demo",
    *(
        option(f"--{n}", kind, m, told, {"frames": 600}.get(n, usual))
        for n, kind, m, told, usual in workshop.MICROSCOPE
    ),
    option("--rate", positive_number, "HZ", "frames a second", 1.0),
    flag("--no-browser", "open no browser"),
    flag("--exit-when-done", "end when the last frame is analysed, not at Ctrl-C"),
    option("--session", Path, "DIR", "the session's folder (sessions/<date>-<time>-demo)"),
    *MODEL,
    WORKERS,
    PORT,
)
def demo(options: argparse.Namespace) -> int:
    """Virtual microscope, session and page, all in one.

    The virtual microscope takes frames of simulated CdSe particles into a folder, a session watches it, and the page
    opens in the browser.
    """
    import time

    from monitor.companions import microscope, page
    from monitor.settings import load_settings
    from monitor.watch import watch as run

    session = (options.session or Path("sessions", time.strftime("%Y%m%d-%H%M%S-demo"))).resolve()
    frames, log = (session.parent / f"{session.name}-{of}" for of in ("frames", "microscope.log"))
    # The microscope needs a moment for its first frame, and every frame one over its rate.
    idle = 15.0 + 2.0 / options.rate if options.exit_when_done else None
    named = given(options, "bundle", "device", "workers", "port")
    settings = load_settings(sources=[str(frames)], session=session, until_idle=idle, **named)
    told = [f"--{name}={value}" for name, value in given(options, "frames", "rate", "size", "seed").items()]
    with microscope(frames, log, told):
        return run(settings, dashboard=page(True, settings.page_arguments(), not options.no_browser))


@command(
    "replay",
    place("recorded", "SESSION", "the recorded session's folder, or a folder of such", type=Path),
    choice("--speed", ("1", "10", "max"), "1 is as it happened", "1"),
    *SESSION,
)
def replay(options: argparse.Namespace) -> int:
    """Play a recorded session through the same path into a new one.

    The frames come in their order, at their pace or faster. With the same bundle the counts are the same. Of a folder
    of sessions each is replayed into one of its name below --session (DIR-replayed), without the page; the same
    command goes on where it was interrupted, and in the end the fractions stand beside those of before.
    """
    from monitor.companions import page
    from monitor.record.database import is_session
    from monitor.replay import replay as run
    from monitor.replay import replay_archive
    from monitor.settings import load_settings

    settings = load_settings(**given(options, *SETTINGS))
    if not is_session(options.recorded) and any(map(is_session, options.recorded.glob("*"))):
        return replay_archive(options.recorded, settings, speed=options.speed)
    shown = page(settings.dashboard, settings.page_arguments(), options.browser)
    return run(options.recorded, settings, speed=options.speed, dashboard=shown)


@command(
    "dashboard",
    place("directory", "DIR", "a session, or a folder of sessions (sessions)",
          type=Path, nargs="?", default=Path("sessions")),
    PORT,
    *SHARED,
    flag("--no-browser", "open no browser"),
    flag("--until-closed", "end when the standard input is closed"),
)  # fmt: skip
def dashboard(options: argparse.Namespace) -> int:
    """Show the page over recorded sessions, or over one that runs.

    Serves it on this computer until Ctrl-C. It can come and go: it reads, and writes only what is asked for on it.
    With --share it prints two links for others, to operate and to look only; without them nobody gets in.
    """
    from dashboard.server import DashboardServer, Sharing, serve
    from monitor.companions import end_with_input

    if options.until_closed:
        end_with_input()

    def ready(server: DashboardServer) -> None:
        print(f"the page is at {server.url}", flush=True)
        for role, link in server.links():
            print(f"link for {'an' if role == 'operator' else 'a'} {role}: {link}", flush=True)

    sharing = Sharing(options.host, bool(options.share), options.prefix or "", tuple(options.origin or ()))
    where = 5006 if options.port is None else options.port
    return serve(
        options.directory, sharing=sharing, port=where, open_browser=not options.no_browser, ready=ready
    )


@command(
    "analyse",
    place("files", "FILE", "a file of frames, or a folder of such files", nargs="+"),
    flag("--json", "a line of JSON for each frame"),
    flag("--about", "tell what is understood of each file and what it would ask for, and analyse nothing"),
    option("--masks", Path, "DIR", "write a label image of each frame into DIR"),
    option("--explain", Path, "DIR", "write why each particle has its class into DIR, as picture and JSON"),
    *ANALYSIS,
)
def analyse(options: argparse.Namespace) -> int:
    """Analyse files once, without a session.

    Of a folder, every frame of the files in it and below. A frame that can't be analysed is rejected with the reason.
    """
    if options.about:
        from monitor.read.about import tell_about

        sizes = (options.pixel_size, options.force_pixel_size)
        return tell_about(options.files, *sizes, options.movie or "sum", as_json=options.json)
    from monitor.workers.oneshot import Models, Options
    from monitor.workers.oneshot import analyse as run

    how = Options(
        options.pixel_size, options.force_pixel_size, options.movie or "sum", options.masks, options.explain
    )
    keep_measured = options.explain is not None
    judges = Models(options.bundle, options.material, options.device or "auto", keep=keep_measured)
    return run(options.files, how, judges.judge, as_json=options.json, explain=judges.explain)


@command(
    "summary",
    RECORDED,
    JSON,
    option("--compare", Path, "SESSION", "also the difference of its fraction to that of another session"),
)
def summary(options: argparse.Namespace) -> int:
    """Sum a session up: ledger, counts, fractions and alarms.

    The session may still be running.
    """
    from monitor.record.summary import compared, summarise
    from monitor.record.summary_text import as_text

    other = options.compare
    found = summarise(options.recorded) if other is None else compared(options.recorded, other)
    return tell(found, as_text, options.json)


@command(
    "export",
    RECORDED,
    option("--to", Path, "F", "a table, .csv or .parquet, or label images, .zip", required=True),
    flag("--tracks", "a row a track instead of a row a sighting"),
)
def export(options: argparse.Namespace) -> int:
    """Write a session's particles as a table, or its label images.

    The ending of F tells which: .csv and .parquet are tables, .zip holds a label image (int32 TIFF) of each frame.
    """
    from monitor.errors import InputError
    from monitor.record.export import export as run
    from monitor.record.label_images import export_label_images

    if options.to.suffix.lower() == ".zip":
        if options.tracks:
            raise InputError("--tracks is for tables: a .zip holds label images")
        export_label_images(options.recorded, options.to)
        return 0

    run(options.recorded, options.to, options.tracks)
    return 0


@command(
    "report",
    RECORDED,
    option("--to", Path, "F.html", "the page; one that is there is replaced", required=True),
)
def report(options: argparse.Namespace) -> int:
    """Write a session as one page with plots, tables and how each number was computed.

    The page needs nothing beside itself, and the browser prints it. The session may still be running.
    """
    from dashboard.report.write import write_report

    size = write_report(options.recorded, options.to)
    print(f"the report is at {options.to.resolve()} ({size / 1e6:.1f} MB)")
    return 0


@command("verify", RECORDED, JSON, *MODEL)
def verify(options: argparse.Namespace) -> int:
    """Analyse a session's kept frames again and compare with what was recorded.

    It only reads the session. Status 0: everything that could be compared agrees.
    """
    from monitor.workers.verify import verify as run

    how = {"bundle": options.bundle, "device": options.device or "auto", "as_json": options.json}
    return run(options.recorded, **how)


@command(
    "bench",
    JSON,
    flag("--quick", "fewer rounds, no frames of 4096²"),
    option("--sizes", side, "PX", "sides of the frames (512 1024 2048 4096)", nargs="+"),
    option("--rounds", positive, "N", "how often each stage is measured for each size (9, quick: 3)"),
    option("--picture", Path, "FILE.png", "draw the figures too"),
    flag("--browser", "also until a browser shows a frame (needs Playwright and Chromium)"),
    MODEL[0],
)
def bench(options: argparse.Namespace) -> int:
    """Measure how fast this computer analyses.

    Every stage of the analysis for frames of several sizes, beside the least that it could take here and beside what
    would be written instead; the delay from a closed file to its committed result; and which bars are met. Nothing else
    should run meanwhile. Ctrl-C ends it and tells what was measured so far.
    """
    from monitor.bench.command import bench as run
    from monitor.bench.plan import plan_of

    plan = plan_of(options.quick, options.sizes, options.rounds, options.browser)
    return run(plan, as_json=options.json, picture=options.picture, bundle=options.bundle)


if __name__ == "__main__":
    sys.exit(main())
