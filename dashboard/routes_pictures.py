"""Routes for pictures of recorded frames: a part at full resolution, the power spectrum, thumbnails of particles.

The answers of the first two are JSON: the picture, and a sentence where the frame's own file could not be used.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.web import HTTPError

from dashboard.crops import Box, crop_box
from dashboard.frame_files import Unavailable
from dashboard.inspecting import Filed
from dashboard.page import Views
from dashboard.pictures import (
    MOST,
    jpeg_address,
    part,
    power_spectrum,
    read_preview,
    thumbnail,
)
from dashboard.routes import FOR_EVER, ViewHandler
from dashboard.snapshot import Sighting
from dashboard.view import RecordView

_BOX = re.compile(r"(\d{1,6}),(\d{1,6}),(\d{1,6}),(\d{1,6})")


def region_answer(views: Views, session: Path, frame: Filed, box: Box, side: int) -> dict[str, Any]:
    """A part of a frame from its file."""
    try:
        grey = part(views.files.pixels(session, frame), box, side)
    except Unavailable as why:
        return {"why": f"{why} The picture is the preview, however far it is enlarged."}
    return {"box": box, "picture": jpeg_address(grey)}


def spectrum_answer(views: Views, session: Path, frame: Filed, preview: bytes | None) -> dict[str, Any]:
    """The power spectrum of a frame from its file, else from its preview."""
    why = None
    try:
        found = power_spectrum(views.files.pixels(session, frame), frame.pixel_size_nm)
    except Unavailable as error:
        if preview is None:
            return {"why": f"{error} There is no preview either."}
        small = read_preview(preview)
        found = power_spectrum(small, frame.pixel_size_nm * frame.height / small.shape[0])
        why = f"{error} The spectrum is that of the preview."
    return {"reach": found.reach_per_nm, "picture": jpeg_address(found.grey), "why": why}


def asked_box(text: str, frame: Filed) -> Box | None:
    """`row0,col0,row1,col1` within the frame, half-open; None where that is no part of it."""
    found = _BOX.fullmatch(text)
    if found is None:
        return None
    row0, col0, row1, col1 = (int(each) for each in found.groups())
    inside = row0 < row1 <= frame.height and col0 < col1 <= frame.width
    return (row0, col0, row1, col1) if inside else None


class PictureHandler(ViewHandler):
    """A route for a picture of one frame or particle."""

    async def answer(self, key: tuple[Any, ...], stamp: str, make: Callable[[], dict[str, Any]]) -> None:
        """Write what `make` gives as JSON; it runs in a thread, and not again while it is kept."""
        key = (type(self).__name__, *key, stamp)
        text = self.views.answers.get(key)
        kept = text is not None
        if text is None:
            told = await asyncio.to_thread(make)
            text = json.dumps(told)
            if kept := not told.get("why"):  # a file may come back
                self.views.answers.keep(key, text)
        still = kept and self.get_query_argument("v", None) == stamp
        self.set_header("Cache-Control", FOR_EVER if still else "private, no-store")
        self.set_header("Content-Type", "application/json")
        self.write(text)


class RegionHandler(PictureHandler):
    """`/region/<frame number>.json?box=row0,col0,row1,col1&side=…`: that part of it, at most so many pixels long."""

    async def get(self, number: str) -> None:
        session, frame = self.looked_up(lambda view: view.filed(int(number)))
        box = asked_box(self.get_query_argument("box", ""), frame)
        side = self.get_query_argument("side", str(MOST))
        if box is None or not re.fullmatch(r"[1-9]\d{0,5}", side):
            raise HTTPError(400)
        views = self.views
        await self.answer(
            (session, number, box, side),
            frame.stamp,
            lambda: region_answer(views, session, frame, box, int(side)),
        )


class SpectrumHandler(PictureHandler):
    """`/spectrum/<frame number>.json`: the frame's power spectrum, and how far it reaches [nm⁻¹]."""

    async def get(self, number: str) -> None:
        def look(view: RecordView) -> tuple[Filed, bytes | None] | None:
            frame, preview = view.filed(int(number)), view.preview(int(number))
            return None if frame is None else (frame, None if preview is None else preview[0])

        session, (frame, preview) = self.looked_up(look)
        views = self.views
        await self.answer(
            (session, number), frame.stamp, lambda: spectrum_answer(views, session, frame, preview)
        )


class ThumbHandler(PictureHandler):
    """`/thumb/<particle number>.png`: a particle, small, out of its frame's preview."""

    async def get(self, number: str) -> None:
        def look(view: RecordView) -> tuple[Sighting, bytes] | None:
            sighting = view.sighting(int(number))
            preview = None if sighting is None else view.preview(sighting.frame_id)
            return None if sighting is None or preview is None else (sighting, preview[0])

        _, (sighting, preview) = self.looked_up(look)
        png = await asyncio.to_thread(thumbnail, preview, sighting, crop_box(sighting))
        kept = self.get_query_argument("v", None) == sighting.stamp
        self.set_header("Cache-Control", FOR_EVER if kept else "private, no-cache")
        self.set_header("Content-Type", "image/png")
        self.write(png)
