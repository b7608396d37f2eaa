"""The web server of the page: one process that reads records, and writes into them what viewers ask, nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

from dashboard.access import (
    LOOPBACK,
    TOKEN,
    Access,
    Role,
    checked_origins,
    checked_prefix,
    own_names,
    sharing_key,
)
from dashboard.door import door
from dashboard.page import Clock, Views, find_session, list_document, session_document
from dashboard.served import EXTRA_ROUTES
from monitor.errors import InputError

EVERYWHERE = "0.0.0.0"
#: How many ports are tried, from the one asked for, before giving up.
_PORTS = 20


class ClosingServer(HTTPServer):
    """An HTTP server that knows its connections, web sockets too, so that none is left open at the end."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        super().initialize(*args, **kwargs)
        self._streams: WeakSet[IOStream] = WeakSet()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        self._streams.add(stream)
        super().handle_stream(stream, address)

    def close_streams(self) -> None:
        for stream in list(self._streams):
            stream.close()


@dataclass(frozen=True)
class Sharing:
    """Where the page is served, and to whom beyond this computer."""

    host: str | None = None
    """The address that is listened at; None: 127.0.0.1, and every one where it is shared."""
    share: bool = False
    """Whoever has a link may have the page; without, only this computer may."""
    prefix: str = ""
    """A path under which a reverse proxy has the page, as `/faultwatch`."""
    origins: tuple[str, ...] = ()
    """How browsers know the reverse proxy, as `https://lab.example.org`."""

    def address(self) -> str:
        """The address to listen at.

        Raises
        ------
        InputError
            Other computers could reach it, and it is not shared.
        """
        host = self.host or (EVERYWHERE if self.share else LOOPBACK[0])
        if not self.share and host not in LOOPBACK:
            raise InputError(
                f"without --share the page is for this computer only: --host {host} is not 127.0.0.1"
            )
        return LOOPBACK[0] if host == "localhost" else host


ALONE = Sharing()
"""For this computer alone."""


class DashboardServer:
    """The server on the running event loop: `start`, then `stop`.

    Raises
    ------
    InputError
        What `sharing` says can't be, or no port is free.
    """

    def __init__(
        self,
        directory: Path,
        *,
        sharing: Sharing = ALONE,
        port: int = 5006,
        clock: Clock = time.time,
        unused_session_ms: int = 15_000,
    ) -> None:
        self.prefix = checked_prefix(sharing.prefix)
        origins = checked_origins(sharing.origins)
        host = sharing.address()
        self.directory = directory
        self.views = Views()
        key = sharing_key() if sharing.share else None
        listener, self.port = _bind(host, port)
        names = own_names() if host == EVERYWHERE else {host}
        self.access = Access(self.port, directory, key, frozenset(names), origins)
        context = {"directory": directory, "views": self.views}
        application = BokehTornado(
            {
                "/": Application(FunctionHandler(self._root_page(clock))),
                "/session": Application(FunctionHandler(self._session_page(clock))),
            },
            prefix=self.prefix,
            extra_websocket_origins=self.access.websocket_origins(),
            extra_patterns=[(pattern, handler, context) for pattern, handler in EXTRA_ROUTES.items()],
            unused_session_lifetime_milliseconds=unused_session_ms,
            check_unused_sessions_milliseconds=min(17_000, unused_session_ms),
        )
        # One door for every route, Bokeh's own too.
        self._http = ClosingServer(door(self.access, application, self.prefix))
        self._http.add_socket(listener)
        self.bokeh: Any = BaseServer(IOLoop.current(), application, self._http)

    @property
    def url(self) -> str:
        """For a browser on this computer, as an operator."""
        link = f"?{TOKEN}={self.access.token(Role.OPERATOR)}" if self.access.shared else ""
        return f"http://127.0.0.1:{self.port}{self.prefix}/{link}"

    def links(self) -> list[tuple[Role, str]]:
        """The links to give to others where the page is shared: through the reverse proxy where there is one."""
        if not self.access.shared:
            return []
        names = sorted(
            self.access.names - set(LOOPBACK), key=lambda name: (name.startswith("127."), name.count("."))
        )
        proxies = sorted(self.access.origins)
        base = proxies[0] if proxies else f"http://{names[0] if names else LOOPBACK[0]}:{self.port}"
        return [(role, f"{base}{self.prefix}/?{TOKEN}={self.access.token(role)}") for role in Role]

    def start(self) -> None:
        self.bokeh.start()

    async def stop(self) -> None:
        """Stop listening and close every viewer's connection."""
        self._http.stop()
        self.bokeh.stop()
        self._http.close_streams()
        self.views.explaining.close()
        await self._http.close_all_connections()
        await asyncio.sleep(0.05)  # what hears of the closing does so in its own turns

    def _role(self, doc: Any) -> Role:
        """What the viewer of a Document may do; a cookie that ran out meanwhile leaves looking."""
        return self.access.role(doc.session_context.request.cookies) or Role.VIEWER

    def _root_page(self, clock: Clock) -> Callable[[Any], None]:
        def modify(doc: Any) -> None:
            session = find_session(self.directory, None)
            if session is None:
                list_document(doc, self.directory, clock=clock)
            else:
                session_document(doc, self.views, session, name=None, clock=clock, role=self._role(doc))

        return modify

    def _session_page(self, clock: Clock) -> Callable[[Any], None]:
        def modify(doc: Any) -> None:
            asked = doc.session_context.request.arguments.get("session", [])
            name = asked[0].decode("utf-8", "replace") if asked else None
            session = find_session(self.directory, name)
            if session is None:
                list_document(doc, self.directory, clock=clock)
            else:
                session_document(doc, self.views, session, name=name, clock=clock, role=self._role(doc))

        return modify


def serve(
    directory: Path,
    *,
    sharing: Sharing = ALONE,
    port: int = 5006,
    open_browser: bool = True,
    ready: Callable[[DashboardServer], None] = lambda server: None,
) -> int:
    """Serve the page over `directory`, a session or a folder of sessions, until Ctrl-C or SIGTERM.

    Parameters
    ----------
    port
        Where it is taken, the next free one is used; 0 is any free one.
    ready
        Called once with the server, when it listens.
    open_browser
        Show the page in this machine's browser.

    Returns
    -------
    int
        The exit status, 0.

    Raises
    ------
    InputError
        What `sharing` says can't be, the directory is a file, or no port is free.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(
            f"{directory} is no folder; give a session's folder, or one with sessions", path=directory
        )
    with contextlib.suppress(KeyboardInterrupt):  # where the loop can't be told of signals (Windows)
        asyncio.run(_serve(directory, sharing, port, open_browser, ready))
    return 0


async def _serve(
    directory: Path,
    sharing: Sharing,
    port: int,
    open_browser: bool,
    ready: Callable[[DashboardServer], None],
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
    server = DashboardServer(directory, sharing=sharing, port=port)
    server.start()
    try:
        ready(server)
        if open_browser:
            # Some browsers hold the caller up until they are closed.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        await stopped.wait()
    finally:
        await server.stop()


def _bind(host: str, port: int) -> tuple[socket.socket, int]:
    """Bind `port` or the next free one; the listening socket and its port.

    Raises
    ------
    InputError
        No port is free, or this computer has no such address.
    """
    try:
        socket.getaddrinfo(host, None, socket.AF_INET)
    except OSError as error:
        raise InputError(f"--host {host} is no address of this computer") from error
    last = min(port + _PORTS, 65536) if port else 1
    for candidate in range(port, last):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if sys.platform == "win32":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, candidate))
            listener.listen(128)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise InputError(f"--host {host} is no address of this computer") from error
            continue
        return listener, listener.getsockname()[1]
    raise InputError(f"no port from {port} to {last - 1} is free; give another with --port")
