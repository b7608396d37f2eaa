"""From a closed file to the picture of its frame in a real browser, one after the other."""

from __future__ import annotations

import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.bench.frames import draw
from monitor.bench.sessions import Watching, closed
from monitor.errors import InputError

SIDE = 1024
WARMING, FRAMES = 4, 24
"""Frames that are not counted, and those that are."""
SETTLED_MS = 500
"""So long the picture of a frame may go on changing."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
LOOKED_AT = """() => {
  const found = [], seen = {id: null, sum: null};
  const canvases = root => [...root.querySelectorAll('*')].flatMap(
    e => [...(e.tagName === 'CANVAS' ? [e] : []), ...(e.shadowRoot ? canvases(e.shadowRoot) : [])]);
  const small = document.createElement('canvas'); small.width = small.height = 48;
  const pen = small.getContext('2d', {willReadFrequently: true});
  const look = () => {
    const source = Bokeh.documents[0]?.get_model_by_name('frame_picture_source');
    const url = source?.data.url[0];
    const chart = canvases(document).sort((a, b) => b.width * b.height - a.width * a.height)[0];
    if (url && chart) {
      pen.clearRect(0, 0, 48, 48);  // else what is half transparent adds up over many looks
      pen.drawImage(chart, 0, 0, 48, 48);
      const sum = pen.getImageData(0, 0, 48, 48).data.reduce((a, b) => (a * 31 + b) | 0, 0);
      const id = parseInt(url.match(/preview\\/(\\d+)/)[1]);
      if (id !== seen.id || sum !== seen.sum) found.push([Date.now(), id]);
      seen.id = id; seen.sum = sum;
    }
    requestAnimationFrame(look);
  };
  window.benchFound = found;
  look();
}"""
"""Notes the time of every change of the frame's picture, with the number of the frame that the page shows."""


@dataclass(frozen=True)
class Shown:
    """One frame from the closing of its file to its picture [s since 1970 UTC]."""

    closed: float
    committed: float
    changed: float
    """The page's pixels changed for the last time."""
    compute_ms: float
    """What the worker took over it, without the preview."""

    @property
    def ms(self) -> float:
        """File closed to pixels changed."""
        return (self.changed - self.closed) * 1e3

    @property
    def beyond_compute_ms(self) -> float:
        """The same without what the worker took."""
        return self.ms - self.compute_ms

    @property
    def page_ms(self) -> float:
        """The page's share: committed to pixels changed."""
        return (self.changed - self.committed) * 1e3


def shown(folder: Path, bundle: Path | None) -> tuple[list[Shown], str]:
    """Frames given one by one, each when the one before has been seen in the page.

    Returns them, and why there are none: Playwright or Chromium is not installed.

    Raises
    ------
    InputError
        The session failed, or its page.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return [], "Playwright is not installed"
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    if program is None:
        return [], "Chromium is not installed"
    drawn = draw(SIDE, 2, folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    began: dict[str, float] = {}
    with Watching(folder / "session-browser", bundle, port) as session, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            _open(page, f"http://127.0.0.1:{port}/")
            closed(session.frames / "first.mrc", drawn.copy(0))
            page.get_by_text("frame 1", exact=True).wait_for(timeout=60_000)
            page.evaluate(LOOKED_AT)
            for number in range(1, WARMING + FRAMES + 1):
                name = f"{number:05d}.mrc"
                began[name] = closed(session.frames / name, drawn.copy(number))
                page.wait_for_function(
                    "id => benchFound.some(([, seen]) => seen === id)", arg=number + 1, timeout=60_000
                )
                # Until it is drawn in full; and the page's clock is not to keep step with the frames.
                page.wait_for_timeout(SETTLED_MS + number * 137 % 500)
            seen: list[tuple[float, int]] = page.evaluate("() => window.benchFound")
        finally:
            browser.close()
        rows = session.committed()
    last = {int(number): at / 1e3 for at, number in seen}  # the last of each frame stays
    names = list(began)
    return [
        Shown(began[name], at, last[names.index(name) + 2], compute)
        for name, _, at, compute in rows
        if name in names[WARMING:]
    ], "no frame was shown"


def _open(page: Any, address: str) -> None:
    """Open the page, which begins a little after its session."""
    deadline = time.monotonic() + 60
    while True:
        try:
            page.goto(address)
            return
        except Exception as error:  # Playwright's own errors are known only where it is installed
            if time.monotonic() > deadline:
                raise InputError(f"the page at {address} can't be opened") from error
            time.sleep(0.5)
