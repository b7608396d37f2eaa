"""A shared page, really served: links, cookies, roles, a tunnel, and nginx before it under a path."""

import http.cookiejar
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dashboard.access import Role
from dashboard.server import Sharing

CHROMIUM = pytest.mark.skipif(
    not Path("/usr/bin/chromium").exists(), reason="Debian's chromium is not installed"
)


@pytest.fixture(autouse=True)
def own_key(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Browser:
    """Keeps cookies and follows redirects."""

    def __init__(self) -> None:
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, url: str) -> tuple[int, str, bytes]:
        """Status, the address at the end, the body."""
        try:
            with self._opener.open(url, timeout=20) as reply:
                return reply.status, reply.url, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, url, error.read()


def links(server) -> dict[Role, str]:
    return {
        role: f"http://127.0.0.1:{server.port}{server.prefix}/?token={server.access.token(role)}"
        for role in Role
    }


@pytest.mark.parametrize(
    "path", ["", "session", "preview/1.jpg", "crop/1.png", "health", "static/js/bokeh.min.js", "metadata"]
)
def test_nothing_is_shown_without_a_link(live, serving, path) -> None:
    with serving(live.directory, sharing=Sharing(share=True, host="127.0.0.1")) as server:
        stranger = Browser()
        base = f"http://127.0.0.1:{server.port}/"
        status, _, body = stranger.get(base + path)
        assert status == 401
        assert b"needs its link" in body
        assert stranger.get(f"{base}{path}?token=wrong")[0] == 401
        assert not list(stranger.cookies)
        known = Browser()
        assert known.get(links(server)[Role.VIEWER])[0] == 200
        assert known.get(base + path)[0] == 200


def test_the_token_leaves_the_address_and_the_cookie_outlives_the_server(live, serving) -> None:
    browser = Browser()
    with serving(live.directory, sharing=Sharing(share=True, host="127.0.0.1")) as server:
        status, url, _ = browser.get(links(server)[Role.OPERATOR])
        port = server.port
        assert (status, url) == (200, f"http://127.0.0.1:{port}/")
        (cookie,) = browser.cookies
        assert cookie.has_nonstandard_attr("HttpOnly")
        assert cookie.get_nonstandard_attr("SameSite") == "Lax"
    with serving(live.directory, port=port, sharing=Sharing(share=True, host="127.0.0.1")) as server:
        assert browser.get(f"http://127.0.0.1:{server.port}/health")[0] == 200


def test_what_is_printed_for_others_names_this_computer(live, serving) -> None:
    with serving(live.directory, sharing=Sharing(share=True)) as server:
        told = dict(server.links())
        assert set(told) == set(Role)
        assert all(f":{server.port}/?token=" in link for link in told.values())
        assert Browser().get(server.url)[0] == 200
    with serving(live.directory, sharing=Sharing(share=True, origins=("https://lab.example.org",))) as server:
        assert dict(server.links())[Role.VIEWER].startswith("https://lab.example.org/?token=")
    with serving(live.directory) as server:
        assert server.links() == []


@pytest.mark.browser
@CHROMIUM
def test_a_viewer_looks_and_an_operator_asks(page, live, serving) -> None:
    number = live.alarm("drift")
    with serving(live.directory, sharing=Sharing(share=True, host="127.0.0.1")) as server:
        page.goto(links(server)[Role.VIEWER])
        page.get_by_text("frame 1", exact=True).wait_for()
        page.get_by_text("looking only").wait_for()
        page.get_by_role("button", name="acknowledge").click()
        page.get_by_text("this link is for looking only").wait_for()
        assert live.asked() == []
        page.goto(links(server)[Role.OPERATOR])
        page.get_by_text("frame 1", exact=True).wait_for()
        assert page.get_by_text("looking only").count() == 0
        page.get_by_role("button", name="acknowledge").click()
        deadline = time.monotonic() + 10
        while not live.asked() and time.monotonic() < deadline:
            page.wait_for_timeout(100)
        assert live.asked() == [("acknowledge", {"alarm": number}, None)]


NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
{location}
  }}
}}
"""


def location(port: int) -> str:
    """The lines of docs/sharing.md, for another port."""
    text = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text(encoding="utf-8")
    return text.split("```nginx\n")[1].split("```")[0].replace("127.0.0.1:5006", f"127.0.0.1:{port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.browser
@CHROMIUM
@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_has_it_under_a_path(page, live, serving, tmp_path) -> None:
    proxy = free_port()
    origin = f"http://127.0.0.1:{proxy}"
    sharing = Sharing(share=True, host="127.0.0.1", prefix="/faultwatch", origins=(origin,))
    with serving(live.directory, sharing=sharing) as server:
        conf = tmp_path / "nginx.conf"
        conf.write_text(NGINX.format(folder=tmp_path, port=proxy, location=location(server.port)))
        with subprocess.Popen(["nginx", "-c", str(conf), "-e", str(tmp_path / "error.log")]) as nginx:
            try:
                wait_for_port(proxy)
                page.goto(dict(server.links())[Role.OPERATOR])
                page.get_by_text("frame 1", exact=True).wait_for()
                assert page.url == f"{origin}/faultwatch/"
                with page.expect_response(lambda reply: "/faultwatch/preview/2.jpg" in reply.url) as reply:
                    live.analysed("yes")  # comes through the web socket
                    page.get_by_text("frame 2", exact=True).wait_for()
                assert reply.value.ok
                page.goto(f"{origin}/faultwatch")
                page.get_by_text("frame 2", exact=True).wait_for()
            finally:
                nginx.terminate()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens at {port}")
