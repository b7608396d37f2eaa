"""What a viewer takes home: tables, the report, the label images of a session, made when they are asked for."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from dashboard.routes import ViewHandler
from monitor.companions import myself

#: Name in the address, and the command that makes it, by what it does and how the result is called.
MADE: dict[str, tuple[tuple[str, ...], str, str]] = {
    "particles.csv": (("export",), "particles.csv", "text/csv; charset=utf-8"),
    "particles.parquet": (("export",), "particles.parquet", "application/vnd.apache.parquet"),
    "tracks.csv": (("export", "--tracks"), "tracks.csv", "text/csv; charset=utf-8"),
    "tracks.parquet": (("export", "--tracks"), "tracks.parquet", "application/vnd.apache.parquet"),
    "masks.zip": (("export",), "masks.zip", "application/zip"),
    "report.html": (("report",), "report.html", "text/html; charset=utf-8"),
}
_CHUNK = 1 << 20


class DownloadHandler(ViewHandler):
    """`/download/<name>`: one of `MADE`, by a process of its own, so that no viewer waits for it."""

    async def get(self, name: str) -> None:
        session = self.asked_session()
        if name not in MADE:
            raise HTTPError(404)
        how, called, kind = MADE[name]
        folder = Path(tempfile.mkdtemp(prefix="faultwatch-"))
        try:
            made = folder / called
            async with self.views.making:
                failed = await _run(myself(*how, str(session), "--to", str(made)))
            if failed is not None:
                self.set_status(409)
                self.set_header("Content-Type", "text/plain; charset=utf-8")
                self.write(failed)
                return
            file_name = quote(f"{session.name}-{called}", safe="")
            self.set_header("Content-Type", kind)
            self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{file_name}")
            self.set_header("Content-Length", str(made.stat().st_size))
            self.set_header("Cache-Control", "no-store")
            await self._send(made)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    async def _send(self, path: Path) -> None:
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                self.write(chunk)
                try:
                    await self.flush()  # no further than the viewer reads
                except StreamClosedError:
                    return


async def _run(command: list[str]) -> str | None:
    """Run a command; None where it went well, else what it said last."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode == 0:
        return None
    said = errors.decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"it ended with status {process.returncode}"
