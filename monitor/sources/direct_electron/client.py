"""The client of Direct Electron's camera server, deapi: loaded, connected, and asked."""

from __future__ import annotations

import importlib
import logging
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from monitor.errors import InputError

T = TypeVar("T")

_CONNECT_S = 5.0
"""A server that does not answer for so long is away [s]."""


class ServerGone(Exception):
    """The server can't be reached, or gives no answer that can be used."""


def deapi() -> Any:
    """The package deapi.

    Raises
    ------
    InputError
        It is not installed; the sentence names the extra.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        module = importlib.import_module("deapi")
    except ImportError as error:
        raise InputError(
            f"de:// needs the package deapi ({error}); install faultwatch with its extra directelectron"
        ) from error
    finally:
        # As it is imported it sets up the logging of the whole program, which would say everything twice.
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)
        root.setLevel(level)
    # Every answer that does not come is an error in its log; this source says it once.
    logging.getLogger("DECameraClientLib").setLevel(logging.CRITICAL)
    return module


def connected(host: str, port: int) -> Any:
    """A deapi client that only looks.

    Raises
    ------
    Exception
        Of any kind, where there is no such server.
    """
    # The client's own attempt has no limit of time, where a computer is switched off.
    with socket.create_connection((host, port), timeout=_CONNECT_S):
        pass
    client = deapi().Client()
    # Shared memory is only for a client that may set things, and only on Windows.
    client.usingMmf = False
    try:
        client.connect(host, port, read_only=True)
    except BaseException:
        connection = getattr(client, "socket", None)
        if connection is not None:
            connection.close()
        raise
    return client


def ask(question: Callable[[], T]) -> T:
    """The client's answer.

    Raises
    ------
    ServerGone
        It let an error through. They are of many kinds where a server hangs up, or is another kind of server.
    """
    try:
        return question()
    except Exception as error:
        raise ServerGone(str(error) or type(error).__name__) from error
