"""The pictures of the page in docs/: `python -m tests.pictures SESSIONS NAME`.

A real browser looks at the session NAME in the folder SESSIONS, as `faultwatch dashboard SESSIONS` serves it. Each
picture is a look at one part of the page; they are reduced to 256 colours, as they are kept in the repository.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import sync_playwright

from monitor.companions import myself

COLOURS = 256
WIDE, PHONE = (1440, 900), (390, 844)


def tab(name: str) -> Callable[[Any], None]:
    """Opens a tab."""
    return lambda page: page.locator(f"[data-tab={name}]").click()


def particle(page: Any) -> None:
    """Opens the first particle of the newest frame and waits for its explanation."""
    tab("particle")(page)
    page.locator("main").click(position={"x": 5, "y": 5})
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(25_000)


#: Name, size of the window, what is done before the picture is taken.
PICTURES: tuple[tuple[str, tuple[int, int], Callable[[Any], None]], ...] = (
    ("page", WIDE, tab("now")),
    ("page-particle", WIDE, particle),
    ("page-quality", WIDE, tab("quality")),
    ("page-fields", WIDE, tab("fields")),
    ("page-review", WIDE, tab("review")),
    ("page-light", WIDE, lambda page: page.locator("#look").click()),
    ("page-big", WIDE, lambda page: page.locator("#reading-open").click()),
    ("page-phone", PHONE, tab("now")),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sessions", type=Path)
    parser.add_argument("name")
    parser.add_argument("--to", type=Path, default=Path("docs"))
    parser.add_argument("--only", nargs="*", help="names of pictures")
    options = parser.parse_args()
    command = myself("dashboard", str(options.sessions), "--port", "0", "--no-browser")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as driver:
        try:
            assert server.stdout is not None
            base = server.stdout.readline().split()[-1]
            browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            looks = [(f"{base}session?session={quote(options.name)}", picture) for picture in PICTURES]
            looks.append((base, ("sessions", (1280, 640), lambda page: None)))
            for address, (name, (width, height), act) in looks:
                if options.only and name not in options.only:
                    continue
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(address)
                page.wait_for_timeout(5_000)
                act(page)
                page.wait_for_timeout(5_000)
                picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                picture.quantize(COLOURS).save(options.to / f"{name}.png", optimize=True)
                print(options.to / f"{name}.png", flush=True)
                page.close()
        finally:
            server.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
