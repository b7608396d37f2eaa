"""What is served beside the page itself."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from tornado.web import HTTPError, RequestHandler

from dashboard.page import Views, find_session


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


class PreviewHandler(ViewHandler):
    """`/preview/<frame number>.jpg`: the picture as it lies in the record, encoded once for all viewers."""

    def get(self, number: str) -> None:
        session = self.asked_session()
        view = self.views.acquire(session)
        try:
            found = view.preview(int(number))
        except sqlite3.Error as error:
            raise HTTPError(503, f"the record can't be read just now: {error}") from error
        finally:
            self.views.release(session)
        if found is None:
            raise HTTPError(404)
        jpeg, stamp = found
        # With its stamp in the address a picture never changes; without, the browser asks each time.
        kept = self.get_query_argument("v", None) == stamp
        self.set_header(
            "Cache-Control", "private, max-age=604800, immutable" if kept else "private, no-cache"
        )
        self.set_header("Content-Type", "image/jpeg")
        self.set_header("Etag", f'"{stamp}-{number}"')
        if self.check_etag_header():
            self.set_status(304)
            return
        self.write(jpeg)


class CropHandler(ViewHandler):
    """`/crop/<particle number>.png`: a particle that is to be labelled, out of its frame's file or its preview."""

    async def get(self, number: str) -> None:
        session = self.asked_session()
        view = self.views.acquire(session)
        try:
            sighting = view.sighting(int(number))
            preview = None if sighting is None else view.preview(sighting.frame_id)
        except sqlite3.Error as error:
            raise HTTPError(503, f"the record can't be read just now: {error}") from error
        finally:
            self.views.release(session)
        if sighting is None:
            raise HTTPError(404)
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
