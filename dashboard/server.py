"""The web server of the page: one process that reads records, and writes into them what viewers ask, nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
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
from tornado.routing import Rule, RuleRouter

from dashboard.page import Clock, Views, find_session, list_document, session_document
from dashboard.routes import EXTRA_ROUTES, FromThisPage, refusal
from dashboard.routes_pictures import PICTURE_ROUTES
from monitor.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost")
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


class DashboardServer:
    """The server on the running event loop: `start`, then `stop`.

    Raises
    ------
    InputError
        The host is not this machine, or no port is free.
    """

    def __init__(
        self,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 5006,
        clock: Clock = time.time,
        unused_session_ms: int = 15_000,
    ) -> None:
        if host not in LOOPBACK:
            raise InputError(f"the page is served to this machine only: --host {host} is not 127.0.0.1")
        self.directory = directory
        self.views = Views()
        listener, self.port = _bind(port)
        names = frozenset(f"{name}:{self.port}" for name in LOOPBACK)
        context = {"directory": directory, "views": self.views}
        routes = EXTRA_ROUTES | PICTURE_ROUTES
        application = BokehTornado(
            {
                "/": Application(FunctionHandler(self._root_page(clock))),
                "/session": Application(FunctionHandler(self._session_page(clock))),
            },
            extra_websocket_origins=sorted(names),
            extra_patterns=[(pattern, handler, context) for pattern, handler in routes.items()],
            unused_session_lifetime_milliseconds=unused_session_ms,
            check_unused_sessions_milliseconds=min(17_000, unused_session_ms),
        )
        # One door for every route, Bokeh's own too: who comes by another name or from another page stays out.
        router = RuleRouter([Rule(FromThisPage(names), application), refusal()])
        self._http = ClosingServer(router)
        self._http.add_socket(listener)
        self.bokeh: Any = BaseServer(IOLoop.current(), application, self._http)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

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

    def _root_page(self, clock: Clock) -> Callable[[Any], None]:
        def modify(doc: Any) -> None:
            session = find_session(self.directory, None)
            if session is None:
                list_document(doc, self.directory, clock=clock)
            else:
                session_document(doc, self.views, session, name=None, clock=clock)

        return modify

    def _session_page(self, clock: Clock) -> Callable[[Any], None]:
        def modify(doc: Any) -> None:
            asked = doc.session_context.request.arguments.get("session", [])
            name = asked[0].decode("utf-8", "replace") if asked else None
            session = find_session(self.directory, name)
            if session is None:
                list_document(doc, self.directory, clock=clock)
            else:
                session_document(doc, self.views, session, name=name, clock=clock)

        return modify


def serve(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 5006,
    open_browser: bool = True,
    ready: Callable[[str], None] = lambda url: None,
) -> int:
    """Serve the page over `directory`, a session or a folder of sessions, until Ctrl-C or SIGTERM.

    Parameters
    ----------
    port
        Where it is taken, the next free one is used; 0 is any free one. `ready` is told the address.
    open_browser
        Show the page in this machine's browser.

    Returns
    -------
    int
        The exit status, 0.

    Raises
    ------
    InputError
        The host is not this machine, the directory is a file, or no port is free.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(
            f"{directory} is no folder; give a session's folder, or one with sessions", path=directory
        )
    with contextlib.suppress(KeyboardInterrupt):  # where the loop can't be told of signals (Windows)
        asyncio.run(_serve(directory, host, port, open_browser, ready))
    return 0


async def _serve(
    directory: Path, host: str, port: int, open_browser: bool, ready: Callable[[str], None]
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
    server = DashboardServer(directory, host=host, port=port)
    server.start()
    try:
        ready(server.url)
        if open_browser:
            # Some browsers hold the caller up until they are closed.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        await stopped.wait()
    finally:
        await server.stop()


def _bind(port: int) -> tuple[socket.socket, int]:
    """Bind 127.0.0.1 at `port` or the next free one; the listening socket and its port."""
    last = min(port + _PORTS, 65536) if port else 1
    for candidate in range(port, last):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if sys.platform == "win32":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", candidate))
            listener.listen(128)
            listener.setblocking(False)
        except OSError:
            listener.close()
            continue
        return listener, listener.getsockname()[1]
    raise InputError(f"no port from {port} to {last - 1} is free; give another with --port")
