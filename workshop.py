"""The commands that make simulated truth and the models; the front door has them beside those of a session."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from monitor.commandline import (
    JSON,
    Commands,
    bundle,
    choice,
    flag,
    from_zero,
    given,
    not_negative,
    option,
    place,
    positive,
    positive_number,
    refused,
    share,
    side,
    tell,
    weights,
)

USAGE = 2
"""Exit status where the arguments contradict one another."""
MICROSCOPE = (("frames", positive, "N", "frames to take", 200), ("size", side, "PX", "side of a frame", 1024),
              ("seed", from_zero, "S", "of the specimen and the noise", 0))  # fmt: skip
"""What the virtual microscope takes: name, kind, unit, meaning, and what is usual."""
STREAMED_ON_GPU: dict[str, Any] = {"batch": 96, "learning_rate": 3e-3, "average": 0.9985, "round_steps": 500}
"""Settings of a streaming training on a GPU, where steps are quick and many."""
COMMANDS = Commands()
command = COMMANDS.add


@command(
    "microscope",
    place("target", "TARGET", "a directory, or a ZeroMQ address"),
    *(option(f"--{n}", kind, m, f"{told} (the story's, {usual})") for n, kind, m, told, usual in MICROSCOPE),
    option("--rate", positive_number, "HZ", "frames a second", 2.0),
    option("--story", str, "NAME", "what happens: calm, drifting, eventful, or a JSON file", "calm"),
    option("--library", Path, "FILE", "of waves, from simulate --preset library (the one that comes with the program)"),
    option("--fault-fraction", share, "F", "true share of yes among particles whose stacking is resolved"),
    option("--field-icc", share, "R", "intra-class correlation of yes within a field (the story's, 0)"),
    choice("--kinds", ("planar", "stacking"), "of fault that make yes: any planar one, or stacking faults alone"),
    option("--fields", positive, "N", "of view, the stage moving between them"),
    option("--frames-per-field", positive, "K", "before the stage moves on (the story's)"),
    option("--drift", not_negative, "NM", "from frame to frame (the story's) [nm]"),
    option("--dose", positive_number, "D", "about which it varies (the story's, 400) [e/Å²]"),
    choice("--format", ("mrc", "tif", "npy"), "of the files in a directory", "mrc"),
    option("--truth", Path, "PATH", "what is true: a folder, or a file that gets a line for each frame "
           "(TARGET.truth for a story in a folder)"),
)  # fmt: skip
def microscope(options: argparse.Namespace) -> int:
    """Play the virtual microscope alone.

    It plays a session of simulated frames into a directory, or to a ZeroMQ address (tcp://HOST:PORT connects a PUSH
    socket, ack://HOST:PORT the acknowledging one). docs/sessions.md tells of stories and of the truth beside them.
    """
    import zmq

    from monitor.errors import InputError
    from sim.microscope.library import SHIPPED, load_library
    from sim.microscope.play import play
    from sim.microscope.session_truth import beside
    from sim.microscope.story import StoryError, order

    named = given(
        options,
        "frames",
        "fields",
        "frames_per_field",
        "size",
        "seed",
        "fault_fraction",
        "field_icc",
        "kinds",
    )
    try:
        story = order(options.story, **named, dose_e_per_A2=options.dose, drift_nm=options.drift)
        truth = options.truth
        if truth is None and (options.story != "calm" or options.fault_fraction is not None):
            truth = beside(options.target)
        library = load_library(options.library or SHIPPED, story.energy_kev)
        how = {"rate": options.rate, "file_format": options.format, "truth": truth, "library": library}
        return play(options.target, story, **how)
    except StoryError as error:
        print(f"faultwatch microscope: {error}", file=sys.stderr)
        return USAGE
    except (ValueError, OSError, zmq.ZMQError) as error:
        raise InputError(refused(error, options.target)) from error


@command(
    "simulate",
    place("out", "OUT", "the data set's folder", type=Path),
    option("--specimens", positive, "N", "how many", 100),
    option("--seed", from_zero, "S", "everything follows from it", 0),
    option("--preset", str, "NAME", "the kind of specimens: lattice, overview, grains, zones, bare, soot; library",
           "lattice"),
    option("--near-zone", share, "SHARE", "of particles near a zone that shows faults (the preset's)"),
    option("--materials", weights, "NAME=WEIGHT,...",
           "such as Au=0.5,rocksalt:Pb:S:0.5936=0.5: what particles are made of (the preset's)"),
    choice("--kinds", ("planar", "stacking"), "of fault that make yes: any planar, or stacking faults alone", "planar"),
    choice("--split", ("train", "validation", "test"), "that all specimens belong to (of ten: eight, one and one)"),
    option("--draws", positive, "N", "images of each specimen (the preset's)"),
    option("--phonons", from_zero, "N", "frozen phonons a specimen, 0 for still atoms", 0),
    option("--background", Path, "DIR", "lay some specimens on these real frames of empty support"),
    option("--background-share", share, "SHARE", "how many of them", 0.3),
    option("--pixel-size", positive_number, "NM", "of real frames that do not say theirs [nm/px]"),
    choice("--device", ("cpu", "gpu"), "what runs the multislice; gpu needs CuPy", "cpu"),
    option("--processes", positive, "N", "at work at once", 1),
    option("--scheduler", str, "ADDRESS", "of a Dask scheduler whose workers do it; they must see OUT too"),
)  # fmt: skip
def simulate(options: argparse.Namespace) -> int:
    """Simulate a labelled data set, to train on.

    Specimens by multislice and images of them, with the truth, into the folder OUT, and a picture of what was made.
    What is there is kept, so an interrupted run goes on. With the preset `library`, OUT is a file of exit waves at
    three voltages for the virtual microscope, of as many particles as specimens are asked for.
    """
    from monitor.errors import InputError
    from monitor.read.folders import readable_frames
    from sim.dataset.background import Backgrounds
    from sim.dataset.make import simulate as run
    from sim.dataset.presets import Order
    from sim.microscope.make_library import LibraryOrder, make_library

    def passed_over(why: Exception) -> None:
        print(f"a frame is passed over: {why}", file=sys.stderr)

    try:
        if options.preset == "library":
            told = {
                k: v for k, v in given(options, "seed", "near_zone", "materials").items() if v is not None
            }
            how = {"particles": options.specimens, "processes": options.processes}
            make_library(options.out, LibraryOrder(**told), **how)
            return 0
        if options.background is not None:
            frames = readable_frames(options.background, options.pixel_size, passed_over)
            Backgrounds.of(frames, passed_over).save(options.out)
        named = given(options, "preset", "seed", "near_zone", "materials", "draws", "phonons", "device")
        named |= given(options, "kinds", "split")
        laid = options.background_share if options.background is not None else 0.0
        made = run(
            options.out,
            Order(**named, background=laid),
            **given(options, "specimens", "processes", "scheduler"),
        )
        print(f"{options.out}: {made} shards made")
    except (ValueError, OSError) as error:
        raise InputError(refused(error, options.out)) from error
    return 0


@command(
    "train unet",
    option("--data", Path, "DIR", "the simulated data set, or a folder of your own frames and masks"),
    option("--out", Path, "DIR", "where the result is put", required=True),
    option("--seed", from_zero, "S", "everything follows from it", 1),
    option("--steps", positive, "N", "batches to learn from"),
    option("--minutes", positive_number, "M", "train for so long instead; the learning rate follows the time"),
    option("--batch", positive, "N", "images in a batch (8; with --stream on a GPU 96)"),
    option("--round-steps", positive, "N",
           "steps between two looks at the validation images (200; with --stream on a GPU 500)"),
    option("--from", bundle, "BUNDLE", "a bundle or the folder of another training, whose weights to begin with",
           dest="start_from"),
    option("--width", positive, "N", "channels of the first level", 24),
    option("--levels", positive, "N", "of sampling, each half the one before", 4),
    choice("--stem", ("half", "full"), "sampling of the first level", "half"),
    choice("--norm", ("batch", "group", "instance"), "normalisation", "batch"),
    flag("--bfloat16", "multiply in bfloat16: quicker on processors that know it; always so on a GPU"),
    flag("--gently", "with --data and --from: mend what the network marks where nothing is, and lose nothing else"),
    option("--real", str, "DIR=NM", "with --gently: real frames with masks to learn from too, and their pixel size",
           action="append", default=[]),
    flag("--stream", "simulate while training, every example anew; --data is then what to validate by, if anything"),
    option("--processes", positive, "N", "that draw specimens (1; on a GPU all cores but one)"),
    option("--pixel-size", positive_number, "NM", "of your own frames [nm/px]", 0.05),
    option("--replay", Path, "DIR", "a simulated data set to learn from too while fine-tuning"),
    choice("--device", ("cpu", "cuda"), "what trains the net", "cpu"),
)  # fmt: skip
def train_unet(options: argparse.Namespace) -> int:
    """Train the U-Net that finds particles, or fine-tune a bundle's.

    On a simulated data set, or on simulation as it is made (--stream), an interrupted training goes on from where it
    was; with --from it begins with the weights of a bundle. On a folder of your own frames and masks (X_image and
    X_mask, or X and X_mask) the bundle given with --from, or the one that comes with the program, is fine-tuned into a
    new version, and compared with the old one on frames left out.
    """
    from models.training.unet import Settings, train
    from models.unet import Architecture
    from monitor.errors import InputError

    named = given(options, "steps", "seed", "batch")
    told = {name: value for name, value in named.items() if value is not None}
    if options.data is None and not options.stream:
        raise InputError("a net is trained from --data, or from simulation as it is made with --stream")
    if options.gently and (options.stream or options.data is None or options.start_from is None):
        raise InputError(
            "--gently goes on from the bundle given with --from, on the data set given with --data"
        )
    if options.real and not options.gently:
        raise InputError("--real is for --gently; frames of your own are given as --data")
    if (
        not options.stream
        and not options.gently
        and options.data.is_dir()
        and not any(options.data.glob("*.h5"))
    ):
        from models.bundle import SHIPPED
        from models.training.finetune import finetune
        from monitor.read.pictures import read_frame

        how = {"pixel_size_nm": options.pixel_size, "read": read_frame, **given(options, "replay", "device")}
        print(finetune(options.start_from or SHIPPED, options.data, options.out, **told, **how).verdict)
        return 0
    if options.round_steps is not None:
        told["round_steps"] = options.round_steps
    built = Architecture(**given(options, "width", "levels", "stem", "norm"))
    bfloat16 = options.bfloat16 or options.device == "cuda"
    if options.stream:
        told = {"patience": 0, **(STREAMED_ON_GPU if options.device == "cuda" else {}), **told}
    settings = Settings(built, minutes=options.minutes, bfloat16=bfloat16, **told)
    how = given(options, "device", "start_from")
    if options.gently:
        from models.examples.real_frames import RealFrames
        from models.training.finetune import gentle
        from models.training.own_frames import read_own
        from monitor.read.pictures import read_frame

        settings = gentle(settings)
        how["real"] = [
            frame for text in options.real for frame in read_own(RealFrames.parse(text), read_frame)
        ]
    if options.stream:
        print(_train_streaming(options, settings, how))
    else:
        print(train(options.data, options.out, settings, **how))
    return 0


def _train_streaming(options: argparse.Namespace, settings: Any, how: dict[str, Any]) -> Path:
    """Train on simulation as it is made; returns the weights' place."""
    from models.examples.shards import examples_by_split
    from models.training.unet import refuse_device, train
    from sim.streaming.stream import Stream, Streaming

    refuse_device(options.device)
    check = examples_by_split(options.data, ["validation"]) if options.data else None
    usual = 1 if options.device == "cpu" else max(1, (os.cpu_count() or 2) - 1)
    streaming = Streaming.on(options.device, settings.seed)
    with Stream(
        streaming,
        options.out / "stream",
        drawing=settings.drawing,
        preprocessing=settings.preprocessing(),
        device=options.device,
        processes=options.processes or usual,
        check=check,
    ) as source:
        return train(source, options.out, settings, **how)


@command(
    "train forest",
    option("--data", Path, "DIR", "a simulated data set; several", action="append", default=[]),
    option("--out", Path, "DIR", "where the result is put", required=True),
    option("--seed", from_zero, "S", "everything follows from it", 1),
    option("--unet", Path, "DIR", "the trained net's folder"),
    option("--corrections", Path, "SESSION", "refit with what was corrected in this session"),
    option("--from", bundle, "BUNDLE", "whose forest is refitted (the bundle that comes with the program) or grown "
           "anew on the regions of its own network", dest="start_from"),
    option("--name", str, "NAME", "of the bundle (that of its folder)"),
    option("--trees", positive, "N", "in the forest (100); rounds of boosting (150)"),
    flag("--boosting", "gradient boosting in the forest's place"),
    option("--keep", Path, "DIR", "keep what is measured on the data set, so that an interrupted run goes on"),
    option("--processes", positive, "N", "at work at once", 1),
)  # fmt: skip
def train_forest(options: argparse.Namespace) -> int:
    """Train the random forest that names the class of a particle.

    It uses a trained U-Net and simulated data sets, of which the first calibrates the net, and puts the bundle
    together. With --from in place of --unet it takes the network of a bundle as it is, with its calibration and
    outlines; without --data the forest then learns from the rows that the bundle's training kept beside it, and from
    frames that hold nothing. With --corrections it refits the forest of a bundle (--from) with what an operator
    corrected in a session, and compares the two.

    With --boosting the classes are named by gradient boosting, which takes the forest's place in the bundle and in all
    that is done with it; a refit grows what the bundle has.
    """
    from monitor.errors import InputError

    if options.corrections is not None:
        from models.bundle import SHIPPED
        from models.training.refit import refit
        from monitor.record.corrections import read_corrections

        corrected = read_corrections(options.corrections)

        def told(done: int, of: int, what: str) -> None:
            print(f"{done}/{of} {what}", file=sys.stderr, flush=True)

        made = refit(
            options.start_from or SHIPPED, corrected, options.out, threads=options.processes, step=told
        )
        print(made.verdict)
        return 0
    if (options.unet is None) == (options.start_from is None) or (options.unet and not options.data):
        raise InputError(
            "a forest is trained from --data and --unet, grown anew with --from, or refitted with --corrections"
        )
    from models.training.forest import regrow, train
    from models.training.forest_file import BOOSTING, FOREST, Grower

    how = {
        "name": options.name or options.out.resolve().name,
        "grower": Grower(BOOSTING if options.boosting else FOREST, options.trees, options.seed),
        **given(options, "processes", "keep"),
    }
    if options.start_from is not None:
        regrow(options.start_from, options.data, options.out, **how)
    else:
        train(options.data, options.unet, options.out, **how)
    print(options.out)
    return 0


@command(
    "evaluate",
    option("--bundle", bundle, "DIR", "the model: a folder, or the name of one that comes with the program"),
    option("--data", Path, "DIR", "a simulated data set (the scores that the bundle carries)"),
    option("--images", positive, "N", "test images to judge at the most", 1000),
    option("--seed", from_zero, "S", "which images, blank frames and intervals", 0),
    option("--real", str, "DIR=NM", "real frames with masks, a folder or a pattern, and their pixel size; several",
           action="append", default=[]),
    option("--blank", str, "PATH=NM", "real frames that hold no particle, and their pixel size; several",
           action="append", default=[]),
    option("--pictures", Path, "DIR", "draw galleries, reliability and Dice by condition into DIR"),
    JSON,
)  # fmt: skip
def evaluate(options: argparse.Namespace) -> int:
    """Score a bundle honestly.

    On simulated specimens that training never saw, on frames that hold nothing, and on real frames with masks.
    """
    from models.evaluation.evaluate import as_text
    from models.evaluation.evaluate import evaluate as run
    from models.examples.real_frames import RealFrames
    from monitor.read.pictures import read_frame

    real, blank = ([RealFrames.parse(text) for text in texts] for texts in (options.real, options.blank))
    how = {"real": real, "blank": blank, "read": read_frame, **given(options, "seed", "pictures")}
    return tell(run(options.bundle, options.data, options.images, **how), as_text, options.json)
