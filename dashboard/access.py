"""Who may have the page: by which names it is asked for, from where, and with which link.

Without sharing the page is for this computer alone, and needs no link. Shared, it is for whoever has one of two
links, which hold a token: one for those who may ask the session for something, one for those who may only look. The
browser gets a signed cookie for the token, so that the token stands in no address afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest
from tornado.web import create_signed_value, decode_signed_value

from monitor.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost")
TOKEN = "token"
"""The name of the token in a link's query."""
COOKIE_DAYS = 30.0
KEY_BYTES = 32


class Role(StrEnum):
    """What a viewer may do."""

    OPERATOR = "operator"
    """Look, and ask the session for something."""
    VIEWER = "viewer"
    """Look."""


@dataclass(frozen=True)
class Access:
    """The rules of one server."""

    port: int
    directory: Path
    """That is served: links of one folder do not open another."""
    key: bytes | None = None
    """What tokens and cookies are signed with; None: the page is not shared."""
    names: frozenset[str] = frozenset()
    """Further names and addresses of this computer, without a port."""
    origins: frozenset[str] = frozenset()
    """Origins of reverse proxies, as `https://lab.example.org`."""

    @property
    def shared(self) -> bool:
        """Whether a link is needed."""
        return self.key is not None

    @cached_property
    def hosts(self) -> frozenset[str]:
        """What a Host header may be, besides this computer's loopback names where the page is shared."""
        own = {f"{name}:{self.port}" for name in (*LOOPBACK, *self.names)}
        return frozenset(own | {urlsplit(origin).netloc for origin in self.origins})

    def websocket_origins(self) -> list[str]:
        """The same for Bokeh, which looks at Origin headers of web sockets once more."""
        anywhere = {f"{name}:*" for name in LOOPBACK} if self.shared else set()
        return sorted({host if ":" in host else f"{host}:80" for host in self.hosts} | anywhere)

    def from_here(self, request: HTTPServerRequest) -> bool:
        """Whether a request names this server and comes from its own pages, or from a person who opens one.

        Another site could point its own name at this computer, so the Host header must be a known one; and it could
        embed or fetch what is here from within its own page, so Origin and Sec-Fetch-Site are looked at where a browser
        sends them. A shared page is also reached through a tunnel, which has its own port on the viewer's computer.
        """
        headers = request.headers
        origin = headers.get("Origin")
        by_a_person = (
            headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
        )
        known = request.host in self.hosts or (
            self.shared
            and request.host.rpartition(":")[0] in LOOPBACK
            and request.host.split(":")[-1].isdigit()
        )
        if not known or not (headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin") or by_a_person):
            return False
        return (
            origin is None
            or origin == f"http://{request.host}"
            or (origin in self.origins and urlsplit(origin).netloc == request.host)
        )

    # -- shared pages -----------------------------------------------------------------------------------------

    @property
    def cookie_name(self) -> str:
        """Cookies do not know of ports, so the name does."""
        return f"faultwatch-{self.port}"

    def token(self, role: Role) -> str:
        """The token of a link; the same as long as the key is."""
        message = f"{role}\0{self.directory.resolve()}".encode()
        return urlsafe_b64encode(hmac.digest(self._key, message, hashlib.sha256))[:32].decode()

    def role_of_token(self, token: str) -> Role | None:
        """What a token allows; None where it is none of ours."""
        return next((role for role in Role if hmac.compare_digest(self.token(role), token)), None)

    def cookie(self, role: Role) -> str:
        """The signed value of a cookie."""
        return create_signed_value(self._key, self.cookie_name, f"{role} {self.token(role)}").decode()

    def role_of_cookie(self, value: str | None) -> Role | None:
        """What a cookie allows; None where it is not ours, or too old."""
        found = decode_signed_value(self._key, self.cookie_name, value or "", max_age_days=COOKIE_DAYS)
        if found is None:
            return None
        role, _, token = found.decode().partition(" ")
        return Role(role) if self.role_of_token(token) == role else None

    def role(self, cookies: dict[str, str]) -> Role | None:
        """What who sends these cookies may do; None: nothing."""
        return self.role_of_cookie(cookies.get(self.cookie_name)) if self.shared else Role.OPERATOR

    @property
    def _key(self) -> bytes:
        if self.key is None:
            raise ValueError("the page is not shared, so it has no tokens")
        return self.key


def checked_origins(origins: Iterable[str]) -> frozenset[str]:
    """Origins as browsers send them.

    Raises
    ------
    InputError
        One is no origin: `http://` or `https://`, a name, a port where it is not the usual one, and nothing more.
    """
    for origin in origins:
        parts = urlsplit(origin)
        if (
            parts.scheme not in ("http", "https")
            or origin != f"{parts.scheme}://{parts.netloc}"
            or not parts.netloc
        ):
            raise InputError(
                f"--origin {origin} is no origin: give it as https://lab.example.org, without a path"
            )
    return frozenset(origins)


def checked_prefix(prefix: str) -> str:
    """A path under which the page is served: with a slash before it and none behind; empty for none.

    Raises
    ------
    InputError
        It has characters that a path is not made of.
    """
    plain = prefix.strip("/")
    if not all(part and all(c.isascii() and (c.isalnum() or c in "-_.~") for c in part) and part.strip(".")
               for part in plain.split("/")) and plain:  # fmt: skip
        raise InputError(f"--prefix {prefix} is no path: letters, digits and -_.~ between slashes")
    return f"/{plain}" if plain else ""


def own_names() -> frozenset[str]:
    """Names and addresses under which other computers find this one, as far as it knows them."""
    name = socket.gethostname()
    names = {name, name.partition(".")[0], socket.getfqdn()}
    with contextlib.suppress(OSError):  # it may know itself by no address
        names |= {str(found[4][0]) for found in socket.getaddrinfo(name, None, socket.AF_INET)}
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        contextlib.suppress(OSError),
    ):  # no network
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells which address would be used
        names.add(str(probe.getsockname()[0]))
    return frozenset(names - {""})


def sharing_key(path: Path | None = None) -> bytes:
    """This user's key, made at the first use and kept for the next, so that links go on after a restart.

    Raises
    ------
    InputError
        It can't be read or kept.
    """
    path = key_file() if path is None else path
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(made, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"the key of shared pages can't be kept at {path}: {error.strerror}", path=path
        ) from error
    if len(key) != KEY_BYTES:
        raise InputError(f"{path} is no key of shared pages: delete it, and a new one is made", path=path)
    return key


def key_file() -> Path:
    """Where the key lies: with what else programs keep of this user."""
    usual = Path.home() / ".local" / "state"
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_STATE_HOME") or usual
    return Path(base) / "faultwatch" / "page.key"
