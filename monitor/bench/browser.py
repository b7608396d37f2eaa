"""From a closed file to the picture of its frame in a real browser, at two frames a second."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path
from typing import Any

from monitor.bench.frames import draw
from monitor.bench.sessions import Watching, closed
from monitor.errors import InputError

SIDE = 1024
RATE_HZ = 2.0
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


def shown(folder: Path, bundle: Path | None, frames: int) -> tuple[list[float], str]:
    """Milliseconds from each file's closing until its picture in the page has changed for the last time.

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
    times: list[float] = []
    with Watching(folder / "session-browser", bundle, port) as session, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            _open(page, f"http://127.0.0.1:{port}/")
            closed(session.frames / "first.mrc", drawn.copy(0))
            page.get_by_text("frame 1", exact=True).wait_for(timeout=60_000)
            page.evaluate(LOOKED_AT)
            begun = time.monotonic()
            for number in range(1, frames + 1):
                times.append(closed(session.frames / f"{number:05d}.mrc", drawn.copy(number)))
                time.sleep(max(0.0, begun + number / RATE_HZ - time.monotonic()))
            session.wait_for(frames + 1)
            page.wait_for_timeout(1500)
            seen: list[tuple[float, int]] = page.evaluate("() => window.benchFound")
        finally:
            browser.close()
    last = {int(number): at for at, number in seen}  # the last of each frame stays
    # A frame that was overtaken by the next one was never shown.
    return [last[n + 2] - 1e3 * at for n, at in enumerate(times) if n + 2 in last], "no frame was shown"


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
