"""The door of the page's server: who is let in, who has to show a link first, who stays out."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tornado.httputil import HTTPServerRequest
from tornado.routing import AnyMatches, Matcher, Router, Rule, RuleRouter
from tornado.web import Application, ErrorHandler, RequestHandler

from dashboard.access import COOKIE_DAYS, TOKEN, Access

NEEDS_LINK = (
    "<!doctype html><title>faultwatch</title><meta name=viewport content='width=device-width'>"
    "<body style='background:#0b0e12;color:#d5dce4;font:16px sans-serif;margin:15vh auto;max-width:34em;padding:0 1em'>"
    "<h1>This page needs its link</h1><p>It is shared with those who have one of the two links that faultwatch printed"
    " when it began: open that link once, and this browser will be known for 30 days.</p>"
)


class FromHere(Matcher):
    """Requests that `Access.from_here` takes; of these, those that `known` says."""

    def __init__(self, access: Access, *, known: bool) -> None:
        self._access = access
        self._known = known

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        if not self._access.from_here(request):
            return None
        if self._known and self._access.role({n: c.value for n, c in request.cookies.items()}) is None:
            return None
        return None if self._known and _token(request) and self._access.shared else {}


class LinkHandler(RequestHandler):
    """Somebody who is not known: a link gives the browser a cookie and goes on without the token, else 401."""

    def initialize(self, access: Access, prefix: str) -> None:
        self.access = access
        self.prefix = prefix

    def get(self, *_: str) -> None:
        role = self.access.role_of_token(_token(self.request))
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        if role is None:
            self.set_status(401)
            self.write(NEEDS_LINK)
            return
        secure = f"https://{self.request.host}" in self.access.origins
        self.set_cookie(
            self.access.cookie_name, self.access.cookie(role), expires_days=COOKIE_DAYS, path=f"{self.prefix}/",
            httponly=True, samesite="Lax", secure=secure,
        )  # fmt: skip
        rest = [
            (name, value.decode("utf-8", "replace"))
            for name, values in self.request.query_arguments.items()
            for value in values
            if name != TOKEN
        ]
        # Never to another host, whatever the path looks like.
        path = "/" + self.request.path.lstrip("/")
        self.redirect(f"{path}?{urlencode(rest)}" if rest else path)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.finish(NEEDS_LINK if status_code == 401 else "")


class FullPathHandler(RequestHandler):
    """`/prefix` without its last slash: addresses on the page are relative to it."""

    def initialize(self, prefix: str) -> None:
        self.prefix = prefix

    def get(self) -> None:
        self.redirect(f"{self.prefix}/" + (f"?{self.request.query}" if self.request.query else ""))


def door(access: Access, application: Router, prefix: str) -> RuleRouter:
    """Bokeh's routes and ours behind one door: who comes by another name or from another page stays out."""
    rules = []
    if prefix:
        bare = Application([(prefix, FullPathHandler, {"prefix": prefix})])
        rules.append(Rule(_Path(access, prefix), bare))
    rules.append(Rule(FromHere(access, known=True), application))
    if access.shared:
        ask = Application([(r".*", LinkHandler, {"access": access, "prefix": prefix})])
        rules.append(Rule(FromHere(access, known=False), ask))
    rules.append(Rule(AnyMatches(), Application([(r".*", ErrorHandler, {"status_code": 403})])))
    return RuleRouter(rules)


class _Path(Matcher):
    def __init__(self, access: Access, path: str) -> None:
        self._access = access
        self._path = path

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if request.path == self._path and self._access.from_here(request) else None


def _token(request: HTTPServerRequest) -> str:
    found = request.query_arguments.get(TOKEN, [])
    return found[-1].decode("utf-8", "replace") if found else ""
