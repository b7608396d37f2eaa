"""The front door of faultwatch: its command line, and nothing else.

Every command is a function whose docstring is its help. It imports what it needs when it runs, so that
`faultwatch --help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monitor.arguments import (
    command_of,
    flag,
    from_zero,
    keep,
    not_negative,
    option,
    port,
    positive,
    positive_number,
    share,
    side,
    weights,
)

#: What a shell reports of a program ended by Ctrl-C.
INTERRUPTED = 130
#: What is typed is at odds with itself.
USAGE = 2


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
    except (FaultwatchError, ModelError) as error:
        print(f"faultwatch: {_sentence(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output (`| head`) has gone; what is still buffered must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except sqlite3.Error as error:
        folder = getattr(options, "recorded", None) or getattr(options, "session", None) or "the session"
        said = " ".join(str(error).split())  # of a damaged schema it quotes lines
        print(f"faultwatch: {folder}: the record can't be used ({said})", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a missing right: what the system refused, and where
        print(f"faultwatch: {_refused(error)}", file=sys.stderr)
        return 1


def _sentence(error: Exception) -> str:
    """What is wrong in one line, with the file that it concerns before it."""
    path = getattr(error, "path", None)
    text = " ".join(str(error).split())
    return text if path is None or str(path) in text else f"{path}: {text}"


def _refused(error: Exception, about: object = None) -> str:
    """What the system or a library refused in one line, and the file or else the thing that it is about."""
    text = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
    about = getattr(error, "filename", None) or about
    return text if about is None or str(about) in text else f"{about}: {text}"


# -- the commands ---------------------------------------------------------------------------------------


def watch(options: argparse.Namespace) -> int:
    """Watch directories and sockets, analyse every frame, show the statistics.

    SOURCE is a directory (with its sub-directories) or a ZeroMQ address: tcp://HOST:PORT binds a PULL socket,
    tcp+connect://HOST:PORT connects it, sub://HOST:PORT subscribes, ack://HOST:PORT binds the acknowledging socket.
    dectris+tcp://HOST:PORT listens to a DECTRIS detector, de://HOST:PORT follows a Direct Electron camera server.
    Ctrl-C ends the session; the same --session goes on with it.
    """
    from monitor.settings import load_settings
    from monitor.watch import watch as run

    settings = load_settings(
        sources=options.sources, new_only=options.new_only, **_given(options, _SESSION, _ANALYSIS, _RUNNING)
    )
    return run(settings, dashboard=_page(settings.dashboard, settings.port, options.browser))


def demo(options: argparse.Namespace) -> int:
    """Virtual microscope, session and page, all in one.

    The virtual microscope takes frames of simulated CdSe particles into a folder, a session watches it, and the page
    opens in the browser.
    """
    import time

    from monitor.errors import InputError
    from monitor.settings import load_settings
    from monitor.watch import watch as run

    session = options.session or Path("sessions", time.strftime("%Y%m%d-%H%M%S-demo"))
    session = session.resolve()
    frames = session.parent / f"{session.name}-frames"
    settings = load_settings(
        sources=[str(frames)],
        session=session,
        # The microscope needs a moment for its first frame, and every frame one over its rate.
        until_idle=15.0 + 2.0 / options.rate if options.exit_when_done else None,
        **_given(options, ("bundle", "device", "workers", "port")),
    )
    try:
        frames.mkdir(parents=True, exist_ok=True)
        log = (session.parent / f"{session.name}-microscope.log").open("w+b")
    except OSError as error:
        raise InputError(f"the folder {frames} can't be made: {error.strerror}") from error
    told = [f"--{name}={getattr(options, name)}" for name in ("frames", "rate", "size", "seed")]
    command = _myself("microscope", str(frames), *told)
    with log, subprocess.Popen(command, stdout=log, stderr=log) as microscope:
        try:
            status = run(settings, dashboard=_page(True, settings.port, not options.no_browser))
            if microscope.poll() not in (None, 0, INTERRUPTED):
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines() or ["it gave no reason"]
                raise InputError(f"the virtual microscope failed: {said[-1]}")
            return status
        finally:
            if microscope.poll() is None:
                microscope.terminate()


def replay(options: argparse.Namespace) -> int:
    """Play a recorded session through the same path into a new one.

    The frames come in their order, at their pace or faster. With the same bundle the counts are the same.
    """
    from monitor.replay import replay as run
    from monitor.settings import load_settings

    settings = load_settings(**_given(options, _SESSION, _ANALYSIS, _RUNNING))
    page = _page(settings.dashboard, settings.port, options.browser)
    return run(options.recorded, settings, speed=options.speed, dashboard=page)


def dashboard(options: argparse.Namespace) -> int:
    """Show the page over recorded sessions, or over one that runs.

    Serves it on this computer until Ctrl-C. It only reads, so it can come and go.
    """
    import threading

    from dashboard.server import serve

    if options.until_closed:
        threading.Thread(target=_end_with_input, daemon=True).start()

    def ready(url: str) -> None:
        print(f"the page is at {url}", flush=True)

    return serve(options.directory, port=options.port, open_browser=not options.no_browser, ready=ready)


def analyse(options: argparse.Namespace) -> int:
    """Analyse files once, without a session.

    Of a folder, every frame of the files in it and below. A frame that can't be analysed is rejected with the reason.
    """
    from monitor.workers.oneshot import Models, Options
    from monitor.workers.oneshot import analyse as run

    how = Options(options.pixel_size, options.force_pixel_size, options.masks, options.explain)
    keep = options.explain is not None
    models = Models(options.bundle, options.material, options.device or "auto", keep=keep)
    return run(options.files, how, models.judge, as_json=options.json, explain=models.explain)


def summary(options: argparse.Namespace) -> int:
    """Sum a session up: ledger, counts and fraction.

    The session may still be running.
    """
    from monitor.record.summary import as_text, summarise

    return _tell(summarise(options.recorded), as_text, options.json)


def export(options: argparse.Namespace) -> int:
    """Write a session's particles as a table.

    The ending of F tells the format.
    """
    from monitor.record.export import export as run

    run(options.recorded, options.to, options.tracks)
    return 0


def verify(options: argparse.Namespace) -> int:
    """Analyse a session's kept frames again and compare with what was recorded.

    It only reads the session. Status 0: everything that could be compared agrees.
    """
    from monitor.workers.verify import verify as run

    how = {"bundle": options.bundle, "device": options.device or "auto", "as_json": options.json}
    return run(options.recorded, **how)


def microscope(options: argparse.Namespace) -> int:
    """Play the virtual microscope alone.

    It plays a session of simulated frames into a directory, or to a ZeroMQ address (tcp://HOST:PORT connects a PUSH
    socket, ack://HOST:PORT the acknowledging one). docs/sessions.md tells of stories and of the truth beside them.
    """
    import zmq

    from monitor.errors import InputError
    from sim.microscope.play import play
    from sim.microscope.session_truth import beside
    from sim.microscope.story import StoryError, order

    named = ("frames", "fields", "frames_per_field", "size", "seed", "fault_fraction")
    try:
        ordered = order(
            options.story, **_given(options, named), dose_e_per_A2=options.dose, drift_nm=options.drift
        )
        truth = options.truth
        if truth is None and (options.story != "calm" or options.fault_fraction is not None):
            truth = beside(options.target)
        how = {"rate": options.rate, "file_format": options.format, "truth": truth}
        return play(options.target, ordered, **how)
    except StoryError as error:
        print(f"faultwatch microscope: {error}", file=sys.stderr)
        return USAGE
    except (ValueError, OSError, zmq.ZMQError) as error:
        raise InputError(_refused(error, options.target)) from error


def simulate(options: argparse.Namespace) -> int:
    """Simulate a labelled data set, to train on.

    Specimens by multislice and images of them, with the truth, into the folder OUT, and a picture of what was made.
    What is there is kept, so an interrupted run goes on. With the preset `library`, OUT is a file of exit waves for
    the virtual microscope.
    """
    from monitor.errors import InputError
    from sim.dataset.make import simulate as run
    from sim.dataset.presets import Order
    from sim.microscope.library import make_library

    try:
        if options.preset == "library":
            make_library(options.out, waves=options.specimens, seed=options.seed)
            return 0
        if options.background is not None:
            _keep_backgrounds(options.background, options.pixel_size, options.out)
        order = Order(
            **_given(options, ("preset", "seed", "near_zone", "materials", "draws", "phonons", "device")),
            background=0.0 if options.background is None else options.background_share,
        )
        how = _given(options, ("specimens", "processes", "cluster"))
        print(f"{options.out}: {run(options.out, order, **how)} shards made")
    except (ValueError, OSError) as error:
        raise InputError(_refused(error, options.out)) from error
    return 0


def _keep_backgrounds(folder: Path, pixel_size_nm: float | None, out: Path) -> None:
    """Read every frame in a folder of real empty support, and keep them with the data set."""
    from monitor.errors import InputError, NoPixelSize, UnreadableFrame
    from monitor.read import open_frames, resolve_pixel_size
    from monitor.workers.oneshot import find_files
    from sim.dataset.background import Backgrounds, relative_intensity

    kept = []
    for path in find_files([str(folder)]):
        try:
            with open_frames(Path(path)) as file:
                for frame in map(file.frame, range(file.count)):
                    size_nm = resolve_pixel_size(frame, pixel_size_nm, None)
                    kept.append(relative_intensity(frame.pixels, size_nm))
        except (UnreadableFrame, NoPixelSize, ValueError) as error:
            print(f"{path} is passed over: {error}", file=sys.stderr)
    if not kept:
        raise InputError(f"{folder} holds no frame that can be laid under particles")
    out.mkdir(parents=True, exist_ok=True)
    Backgrounds(tuple(kept)).save(out)


def train_unet(options: argparse.Namespace) -> int:
    """Train the U-Net that finds particles, or fine-tune a bundle's.

    On a simulated data set an interrupted training goes on from where it was; with --from it begins with the weights
    of a bundle. On a folder of your own frames and masks (X_image and X_mask, or X and X_mask) the bundle given with
    --from, or the one that comes with the program, is fine-tuned into a new version, and compared with the old one
    on frames left out.
    """
    from models.training.unet import Settings, train
    from models.unet import Architecture

    given = {name: value for name, value in _given(options, ("steps", "seed")).items() if value is not None}
    if options.data.is_dir() and not any(options.data.glob("*.h5")):
        from models.bundle import SHIPPED
        from models.training.finetune import finetune
        from monitor.read.pictures import read_frame

        how = {"pixel_size_nm": options.pixel_size, "replay": options.replay, "device": options.device}
        how["read"] = read_frame
        print(finetune(options.start_from or SHIPPED, options.data, options.out, **given, **how).verdict)
        return 0
    settings = Settings(
        Architecture(**_given(options, ("width", "levels", "stem", "norm"))),
        bfloat16=options.bfloat16,
        **given,
    )
    print(train(options.data, options.out, settings, device=options.device, start_from=options.start_from))
    return 0


def train_forest(options: argparse.Namespace) -> int:
    """Train the random forest that names the class of a particle.

    It uses a trained U-Net and a simulated data set, and puts the bundle together. With --corrections it refits the
    forest of a bundle (--from) with what an operator corrected in a session, and compares the two.
    """
    from monitor.errors import InputError

    if options.corrections is not None:
        from models.bundle import SHIPPED
        from models.training.refit import refit
        from monitor.record.corrections import read_corrections

        print(
            refit(options.start_from or SHIPPED, read_corrections(options.corrections), options.out).verdict
        )
        return 0
    if options.data is None or options.unet is None:
        raise InputError("a forest is trained from --data and --unet, or refitted with --corrections")
    from models.training.forest import train

    name = options.name or options.out.resolve().name
    how = _given(options, ("trees", "seed", "processes"))
    train(options.data, options.unet, options.out, name=name, **how)
    print(options.out)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Score a bundle honestly.

    On simulated specimens that training never saw, on frames that hold nothing, and on real frames with masks.
    """
    from models.evaluation.evaluate import as_text
    from models.evaluation.evaluate import evaluate as run
    from models.examples.real_frames import RealFrames
    from monitor.read.pictures import read_frame

    real, blank = ([RealFrames.parse(text) for text in given] for given in (options.real, options.blank))
    how = {
        "seed": options.seed,
        "real": real,
        "blank": blank,
        "read": read_frame,
        "pictures": options.pictures,
    }
    return _tell(run(options.bundle, options.data, options.images, **how), as_text, options.json)


# -- their options --------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="faultwatch",
        description="Watches a high-resolution TEM session: finds the particles in every frame as it arrives and shows "
        "how many of them have a stacking fault.",
        epilog="`faultwatch COMMAND --help` tells more of a command.",
    )
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)

    add = command_of(commands, "watch", watch)
    add.add_argument("sources", nargs="+", metavar="SOURCE", help="a directory, or a ZeroMQ address")
    _session_options(add)
    flag(add, "--new-only", "skip what is in the directories already", default=None)

    add = command_of(commands, "demo", demo)
    _microscope_options(add, rate=1.0, frames=600, size=1024, seed=0)
    flag(add, "--no-browser", "open no browser")
    flag(add, "--exit-when-done", "end when the last frame is analysed, not at Ctrl-C")
    option(add, "--session", Path, "DIR", "the session's folder (sessions/<date>-<time>-demo)")
    _model_options(add)
    option(add, "--workers", positive, "N", "analysing processes")
    option(add, "--port", port, "PORT", "of the page, 0 for any free one (5006)")

    add = command_of(commands, "replay", replay)
    add.add_argument("recorded", type=Path, metavar="SESSION", help="the recorded session's folder")
    add.add_argument("--speed", choices=("1", "10", "max"), default="1", help="1 is as it happened (1)")
    _session_options(add)

    add = command_of(commands, "dashboard", dashboard)
    told = "a session, or a folder of sessions (sessions)"
    add.add_argument("directory", type=Path, nargs="?", default=Path("sessions"), metavar="DIR", help=told)
    option(add, "--port", port, "PORT", "0 for any free one", 5006)
    flag(add, "--no-browser", "open no browser")
    flag(add, "--until-closed", "end when the standard input is closed")

    add = command_of(commands, "analyse", analyse)
    add.add_argument("files", nargs="+", metavar="FILE", help="a file of frames, or a folder of such files")
    flag(add, "--json", "a line of JSON for each frame")
    option(add, "--masks", Path, "DIR", "write a label image of each frame into DIR")
    option(
        add, "--explain", Path, "DIR", "write why each particle has its class into DIR, as picture and JSON"
    )
    _analysis_options(add)

    add = command_of(commands, "summary", summary)
    add.add_argument("recorded", type=Path, metavar="SESSION", help="the session's folder")
    flag(add, "--json", "as one JSON object")

    add = command_of(commands, "export", export)
    add.add_argument("recorded", type=Path, metavar="SESSION", help="the session's folder")
    add.add_argument("--to", type=Path, required=True, metavar="F", help="the table: .csv or .parquet")
    flag(add, "--tracks", "a row a track instead of a row a sighting")

    add = command_of(commands, "verify", verify)
    add.add_argument("recorded", type=Path, metavar="SESSION", help="the session's folder")
    flag(add, "--json", "as one JSON object")
    _model_options(add)

    add = command_of(commands, "microscope", microscope)
    add.add_argument("target", metavar="TARGET", help="a directory, or a ZeroMQ address")
    _microscope_options(add, rate=2.0)
    told = "what happens: calm, drifting, eventful, or a JSON file"
    option(add, "--story", str, "NAME", told, "calm")
    told = "true share of yes among particles whose fault would show"
    option(add, "--fault-fraction", share, "F", told)
    option(add, "--fields", positive, "N", "of view, the stage moving between them")
    option(add, "--frames-per-field", positive, "K", "before the stage moves on (the story's)")
    option(add, "--drift", not_negative, "NM", "from frame to frame (the story's) [nm]")
    option(add, "--dose", positive_number, "D", "about which it varies (the story's, 400) [e/Å²]")
    told = "of the files in a directory (mrc)"
    add.add_argument("--format", choices=("mrc", "tif", "npy"), default="mrc", help=told)
    told = "what is true: a folder, or a file that gets a line for each frame (TARGET.truth for a story in a folder)"
    option(add, "--truth", Path, "PATH", told)

    add = command_of(commands, "simulate", simulate)
    add.add_argument("out", type=Path, metavar="OUT", help="the data set's folder")
    option(add, "--specimens", positive, "N", "how many", 100)
    option(add, "--seed", from_zero, "S", "everything follows from it", 0)
    told = "the kind of specimens: lattice, overview, grains, bare, soot; library"
    option(add, "--preset", str, "NAME", told, "lattice")
    option(add, "--near-zone", share, "SHARE", "of particles near a zone that shows faults (the preset's)")
    told = "such as Au=0.5,rocksalt:Pb:S:0.5936=0.5: what particles are made of (the preset's)"
    option(add, "--materials", weights, "NAME=WEIGHT,...", told)
    option(add, "--draws", positive, "N", "images of each specimen (the preset's)")
    option(add, "--phonons", from_zero, "N", "frozen phonons a specimen, 0 for still atoms", 0)
    option(add, "--background", Path, "DIR", "lay some specimens on these real frames of empty support")
    option(add, "--background-share", share, "SHARE", "how many of them", 0.3)
    option(add, "--pixel-size", positive_number, "NM", "of real frames that do not say theirs [nm/px]")
    told = "what runs the multislice; gpu needs CuPy (cpu)"
    add.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help=told)
    option(add, "--processes", positive, "N", "at work at once", 1)
    option(add, "--cluster", str, "ADDRESS", "of a Dask scheduler whose workers do it; they must see OUT too")

    told = "train the models on a data set"
    both = commands.add_parser("train", help=told, description=f"{told.capitalize()}; both make a bundle.")
    models = both.add_subparsers(title="models", dest="model", metavar="unet|forest", required=True)
    unet, forest = command_of(models, "unet", train_unet), command_of(models, "forest", train_forest)
    unet.add_argument("--data", type=Path, required=True, metavar="DIR", help="the simulated data set")
    option(forest, "--data", Path, "DIR", "the simulated data set")
    for add in (unet, forest):
        add.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the result is put")
        option(add, "--seed", from_zero, "S", "everything follows from it", 1)
    option(unet, "--steps", positive, "N", "batches to learn from")
    told = "a bundle or the folder of another training, whose weights to begin with"
    unet.add_argument("--from", type=Path, dest="start_from", metavar="BUNDLE", help=told)
    option(unet, "--width", positive, "N", "channels of the first level", 24)
    option(unet, "--levels", positive, "N", "of sampling, each half the one before", 4)
    unet.add_argument(
        "--stem", choices=("half", "full"), default="half", help="sampling of the first level (half)"
    )
    norms = ("batch", "group", "instance")
    unet.add_argument("--norm", choices=norms, default="batch", help="normalisation (batch)")
    told = "multiply in bfloat16: quicker on processors and GPUs that know it"
    unet.add_argument("--bfloat16", action="store_true", help=told)
    option(unet, "--pixel-size", positive_number, "NM", "of your own frames [nm/px]", 0.05)
    told = "a simulated data set to learn from too while fine-tuning, so that nothing is forgotten"
    option(unet, "--replay", Path, "DIR", told)
    unet.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what trains the net (cpu)")
    option(forest, "--unet", Path, "DIR", "the trained net's folder")
    option(forest, "--corrections", Path, "SESSION", "refit with what was corrected in this session")
    told = "whose forest is refitted (the bundle that comes with the program)"
    forest.add_argument("--from", type=Path, dest="start_from", metavar="BUNDLE", help=told)
    option(forest, "--name", str, "NAME", "of the bundle (that of its folder)")
    option(forest, "--trees", positive, "N", "in the forest", 100)
    option(forest, "--processes", positive, "N", "at work at once", 1)

    add = command_of(commands, "evaluate", evaluate)
    option(add, "--bundle", Path, "DIR", "the model (the one that comes with the program)")
    option(add, "--data", Path, "DIR", "a simulated data set (the scores that the bundle carries)")
    option(add, "--images", positive, "N", "test images to judge at the most", 1000)
    option(add, "--seed", from_zero, "S", "which images, blank frames and intervals", 0)
    told = "real frames with masks, a folder or a pattern, and their pixel size; several"
    add.add_argument("--real", action="append", default=[], metavar="DIR=NM", help=told)
    told = "real frames that hold no particle, and their pixel size; several"
    add.add_argument("--blank", action="append", default=[], metavar="PATH=NM", help=told)
    option(add, "--pictures", Path, "DIR", "draw galleries, reliability and Dice by condition into DIR")
    flag(add, "--json", "as one JSON object")
    return top


def _microscope_options(command: argparse.ArgumentParser, rate: float, **defaults: int | None) -> None:
    """What the virtual microscope is to take; what has no default is left to the story."""
    for name, kind, metavar, meaning, usual in (
        ("frames", positive, "N", "frames to take", 200),
        ("size", side, "PX", "side of a frame", 1024),
        ("seed", from_zero, "S", "of the specimen and the noise", 0),
    ):
        default = defaults.get(name)
        told = meaning if default is not None else f"{meaning} (the story's, {usual})"
        option(command, f"--{name}", kind, metavar, told, default)
    option(command, "--rate", positive_number, "HZ", "frames a second", rate)


def _model_options(command: argparse.ArgumentParser) -> None:
    """Which model, and what runs it."""
    option(command, "--bundle", Path, "DIR", "the model (the one that comes with the program)")
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), help="what runs the network (auto)")


#: Settings that these options set; where an option is not given (None) the other places for settings decide.
_SESSION = ("session",)
_ANALYSIS = ("pixel_size", "force_pixel_size", "bundle", "material", "device")
_RUNNING = ("workers", "dashboard", "port", "latest_first", "keep", "until_idle")


def _analysis_options(command: argparse.ArgumentParser) -> None:
    """What says how a frame is analysed."""
    option(command, "--pixel-size", positive_number, "NM", "for frames that do not say theirs [nm/px]")
    option(command, "--force-pixel-size", positive_number, "NM", "in place of what frames say [nm/px]")
    option(command, "--material", str, "NAME", "what the particles are made of (any that is known)")
    _model_options(command)


def _session_options(command: argparse.ArgumentParser) -> None:
    """Where a session lies, how its frames are analysed, and how it runs."""
    option(command, "--session", Path, "DIR", "the session's folder (sessions/<date>-<time>)")
    _analysis_options(command)
    option(command, "--workers", positive, "N", "analysing processes")
    flag(command, "--no-dashboard", "without the page", None, dest="dashboard", action="store_false")
    flag(command, "--no-browser", "open no browser", True, dest="browser", action="store_false")
    option(command, "--port", port, "PORT", "of the page, 0 for any free one (5006)")
    flag(command, "--latest-first", "analyse the newest frame first", None)
    option(command, "--keep", keep, "all|none|GB", "how much of what sockets brought stays on disk (all)")
    option(command, "--until-idle", not_negative, "S", "end after S seconds with nothing to do (never)")


def _given(options: argparse.Namespace, *names: Sequence[str]) -> dict[str, Any]:
    """Some of the options, by name."""
    return {name: getattr(options, name) for group in names for name in group}


# -- what commands share --------------------------------------------------------------------------------


def _page(wanted: bool, port: int, browser: bool) -> Callable[[Path], subprocess.Popen[bytes] | None]:
    """What starts the page over a session: a process of its own, which only reads the record."""

    def start(session: Path) -> subprocess.Popen[bytes] | None:
        if not wanted:
            return None
        quiet = [] if browser else ["--no-browser"]
        # It ends with its input, and so with the session, also with one that is killed.
        command = _myself("dashboard", str(session), "--port", str(port), "--until-closed", *quiet)
        return subprocess.Popen(command, stdin=subprocess.PIPE)

    return start


def _end_with_input() -> None:
    """End this process as SIGTERM would when whoever started it closes its input, or is gone."""
    import os
    import signal

    # Unbuffered: a buffer's lock, held by a waiting thread, would break the interpreter's own end.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _myself(*arguments: str) -> list[str]:
    """The command that runs this program in another process."""
    return [sys.executable, "-m", "faultwatch", *arguments]


def _tell(told: dict[str, Any], as_text: Callable[[dict[str, Any]], str], as_json: bool) -> int:
    """Print what was found, for people or for programs."""
    import json

    print(json.dumps(told, allow_nan=False) if as_json else as_text(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
