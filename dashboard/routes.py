"""What is served beside the page itself."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tornado.web import HTTPError, RequestHandler

from dashboard.page import Views, find_session
from dashboard.snapshot import Sighting
from dashboard.view import RecordView

Found = TypeVar("Found")

FOR_EVER = "private, max-age=604800, immutable"
"""With its stamp in the address a picture never changes."""


class ViewHandler(RequestHandler):
    """A route that looks something up in a session's record."""

    def initialize(self, directory: Path, views: Views) -> None:
        self.directory = directory
        self.views = views

    def set_default_headers(self) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    def asked_session(self) -> Path:
        """The session that the request names.

        Raises
        ------
        HTTPError
            404, there is none by that name.
        """
        session = find_session(self.directory, self.get_query_argument("session", None))
        if session is None:
            raise HTTPError(404)
        return session

    def looked_up(self, look: Callable[[RecordView], Found | None]) -> tuple[Path, Found]:
        """The session that is asked for, and what `look` finds in its record.

        Raises
        ------
        HTTPError
            404, nothing is found; 503, the record can't be read.
        """
        session = self.asked_session()
        view = self.views.acquire(session)
        try:
            found = look(view)
        except sqlite3.Error as error:
            raise HTTPError(503, f"the record can't be read just now: {error}") from error
        finally:
            self.views.release(session)
        if found is None:
            raise HTTPError(404)
        return session, found


class PreviewHandler(ViewHandler):
    """`/preview/<frame number>.jpg`: the picture as it lies in the record, encoded once for all viewers."""

    def get(self, number: str) -> None:
        _, (jpeg, stamp) = self.looked_up(lambda view: view.preview(int(number)))
        # With its stamp in the address a picture never changes; without, the browser asks each time.
        kept = self.get_query_argument("v", None) == stamp
        self.set_header("Cache-Control", FOR_EVER if kept else "private, no-cache")
        self.set_header("Content-Type", "image/jpeg")
        self.set_header("Etag", f'"{stamp}-{number}"')
        if self.check_etag_header():
            self.set_status(304)
            return
        self.write(jpeg)


class CropHandler(ViewHandler):
    """`/crop/<particle number>.png`: a particle that is to be labelled, out of its frame's file or its preview."""

    async def get(self, number: str) -> None:
        def look(view: RecordView) -> tuple[Sighting, tuple[bytes, str] | None] | None:
            sighting = view.sighting(int(number))
            return None if sighting is None else (sighting, view.preview(sighting.frame_id))

        session, (sighting, preview) = self.looked_up(look)
        png = await asyncio.to_thread(  # reading a file may take long
            self.views.crops.png, session, sighting, None if preview is None else preview[0]
        )
        if png is None:
            raise HTTPError(404)
        self.set_header(
            "Cache-Control", "private, no-cache"
        )  # the file may go, and the preview take its place
        self.set_header("Content-Type", "image/png")
        self.write(png)


class HealthHandler(ViewHandler):
    """`/health`: the server is there; a page that lost it asks this until it may load itself anew."""

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.write({"faultwatch": "dashboard", "records_open": len(self.views)})
