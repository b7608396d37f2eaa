"""An exposure that lies in a directory twice is counted once, and the other file is told as its copy."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import mrcfile
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from monitor.frames import FrameRef
from monitor.read.copies import show_the_same
from monitor.record import RecordReader, RecordWriter
from monitor.settings import WatchSettings
from monitor.sources.directory import DirectorySource

Counts = npt.NDArray[np.uint16]
WaitFor = Callable[..., None]
WriteFrame = Callable[..., Path]
QUICK: dict[str, Any] = {"reconcile_s": 0.1, "quiet_s": 0.1, "patience_s": 0.3}


def exposure(seed: int = 0, field: int = 0) -> Counts:
    """A field with structure and the shot noise of an exposure."""
    slow = cv2.GaussianBlur(np.random.default_rng([field, 1]).standard_normal((160, 200)), (0, 0), 4)
    return np.random.default_rng([seed, 2]).poisson(150 * (1 + 0.1 * slow / slow.std())).astype(np.uint16)


def export(path: Path, counts: Counts, **how: Any) -> None:
    """A picture of 8 bits with stretched contrast, as programs export it."""
    low, high = np.percentile(counts, (0.5, 99.5))
    grey = np.clip((counts - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    if how.get("bar"):
        grey = np.vstack([grey, np.full((14, grey.shape[1]), 255, np.uint8)])
        grey[-8:-5, 10:60] = 0
    if factor := how.get("factor"):
        grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    Image.fromarray(255 - grey if how.get("inverted") else grey).save(path)


def raw(path: Path, counts: Counts) -> None:
    with mrcfile.new(path) as file:
        file.set_data(counts)
        file.voxel_size = 0.25


class Running:
    """A source that is asked, whose frames go into a record."""

    def __init__(self, root: Path, session: Path) -> None:
        self.source = DirectorySource(root, WatchSettings(**QUICK))
        self.record = RecordWriter(session)
        row = self.record.add_source("directory", self.source.address, 0.0)
        self.source.status.duplicates = row.duplicates
        self.row_id = row.id
        self.source.open(list(self.record.refs(row.id)))
        self.refs: list[FrameRef] = []
        self.closed = False
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()

    def _ask(self) -> None:
        for ref in self.source.refs():
            self.refs.append(ref)

    def settled(self) -> bool:
        status = self.source.status
        return status.ready and not status.busy and not self.source._candidates

    def end(self) -> None:
        self.source.close()
        self.thread.join(10)

    def close(self) -> list[tuple[str, int, str]]:
        """Enter all that was announced; name, revision and state of every frame."""
        self.end()
        for ref in self.refs:
            self.record.take(self.row_id, ref, 1.0, renames=True)
        rows = [self.record.frame(i) for i in range(1, 1 + self.record.ledger()["arrived"])]
        self.record.close()
        self.closed = True
        return sorted((row.path.name, row.revision, row.state) for row in rows)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[], Running]]:
    (tmp_path / "frames").mkdir()
    started: list[Running] = []

    def start() -> Running:
        started.append(Running(tmp_path / "frames", tmp_path / "session"))
        return started[-1]

    yield start
    for one in started:
        one.end()
        if not one.closed:
            one.record.close()


def copies(running: Running) -> dict[str, str]:
    return {Path(path).name: Path(of).name for path, of in running.source.status.copies.items()}


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links(run: Callable[[], Running], wait_for: WaitFor, tmp_path: Path) -> None:
    root = tmp_path / "frames"
    (root / "sub").mkdir()
    raw(root / "a.mrc", exposure())
    os.link(root / "a.mrc", root / "sub" / "b.mrc")
    (root / "c.mrc").symlink_to(root / "a.mrc")
    (root / "notes.txt").write_text("nothing")
    (root / "d.txt").symlink_to(root / "notes.txt")
    running = run()
    wait_for(running.settled)
    assert len(running.refs) == 1
    assert running.source.status.duplicates == 2
    assert set(copies(running)) in ({"b.mrc", "c.mrc"}, {"a.mrc", "c.mrc"})
    assert copies(running)["c.mrc"] == "a.mrc"


@pytest.mark.parametrize("how", [{}, {"bar": True}, {"factor": 0.5}, {"inverted": True}])
@pytest.mark.parametrize("first", ["raw", "export"])
def test_raw_and_exported_picture(
    how: dict[str, Any], first: str, run: Callable[[], Running], wait_for: WaitFor, tmp_path: Path
) -> None:
    """The camera's own file is what is analysed, whichever comes first."""
    root, counts = tmp_path / "frames", exposure()
    if first == "raw":
        raw(root / "x.mrc", counts)
    else:
        export(root / "x.png", counts, **how)
    running = run()
    wait_for(running.settled)
    assert len(running.refs) == 1
    if first == "raw":
        export(root / "x.png", counts, **how)
    else:
        raw(root / "x.mrc", counts)
    wait_for(lambda: running.source.status.duplicates == 1)
    wait_for(running.settled)
    assert copies(running) == {"x.png": "x.mrc"}
    assert running.close() == [("x.mrc", 0 if first == "raw" else 1, "queued")]


def test_other_exposures_are_not_taken_for_an_export(
    run: Callable[[], Running], wait_for: WaitFor, tmp_path: Path
) -> None:
    """The same stem of another field, and of the same field exposed again, are other frames."""
    root = tmp_path / "frames"
    raw(root / "x.mrc", exposure(0))
    export(root / "x.png", exposure(1))
    raw(root / "y.mrc", exposure(0, field=5))
    export(root / "y.png", exposure(0, field=6))
    running = run()
    wait_for(lambda: len(running.refs) == 4)
    wait_for(running.settled)
    assert running.source.status.copies == {}


def test_a_file_on_its_way_to_another_folder_is_one_frame(
    run: Callable[[], Running], wait_for: WaitFor, tmp_path: Path
) -> None:
    """It is there twice while it is copied; when the old one is deleted, the frame goes on under its new place."""
    root = tmp_path / "frames"
    raw(root / "a.mrc", exposure())
    running = run()
    wait_for(running.settled)
    (root / "sorted").mkdir()
    shutil.copy2(root / "a.mrc", root / "sorted" / "a.mrc")
    wait_for(lambda: running.source.status.duplicates == 1)
    assert len(running.refs) == 1
    (root / "a.mrc").unlink()
    wait_for(lambda: len(running.refs) == 2)
    wait_for(lambda: running.source.status.duplicates == 0)
    assert running.close() == [("a.mrc", 0, "queued")]


def test_the_same_bytes_under_another_name_are_a_frozen_camera(
    run: Callable[[], Running], wait_for: WaitFor, tmp_path: Path
) -> None:
    raw(tmp_path / "frames" / "a.mrc", exposure())
    shutil.copy2(tmp_path / "frames" / "a.mrc", tmp_path / "frames" / "b.mrc")
    running = run()
    wait_for(lambda: len(running.refs) == 2)
    assert running.source.status.copies == {}


def test_after_a_restart_copies_are_counted_once(
    run: Callable[[], Running], wait_for: WaitFor, tmp_path: Path
) -> None:
    root = tmp_path / "frames"
    raw(root / "x.mrc", exposure())
    export(root / "x.png", exposure())
    for _ in range(2):
        running = run()
        wait_for(running.settled)
        wait_for(lambda: running.source.status.duplicates == 1)  # noqa: B023
        running.record.set_source(
            running.row_id, state="watching", message=None, duplicates=1, ignored=0, at=2.0
        )
        assert running.close() == [("x.mrc", 0, "queued")]
    with RecordReader(tmp_path / "session") as record:
        assert [source.duplicates for source in record.sources()] == [1]


@pytest.mark.parametrize(("change", "same"), [(0.0, True), (0.5, False)])
def test_what_is_the_same_exposure(change: float, same: bool) -> None:
    counts = exposure(0).astype(np.float64)
    other = (1 - change) * counts + change * exposure(3)
    assert show_the_same(counts, (other**0.7).astype(np.float32)) is same
