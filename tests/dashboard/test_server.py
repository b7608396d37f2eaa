"""The server in process: every route, who is let in, and what is left after the viewers went."""

import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from bokeh.client import pull_session
from bokeh.document import Document

from dashboard.server import Sharing, _bind, serve
from monitor.errors import InputError


def fetch(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body; underscores in header names are hyphens."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): v for name, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def until(condition, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(done)


@pytest.fixture
def server(session, serving):
    session.analysed("yes", "no")
    with serving(session.directory) as server:
        yield server


def test_the_page_is_whole_without_the_internet(server) -> None:
    status, _, body = fetch(server.url)
    page = body.decode()
    assert status == 200
    assert 'role="status"' in page
    assert re.findall(r"(?:src|href)=\"(?!/|data:|static/)[^\"]*", page) == []
    assert not re.search(r"https?://(?!127\.0\.0\.1|www\.w3\.org)[a-z]", page.replace("http%3A", ""))
    for script in re.findall(r'src="([^"]+)"', page):
        assert fetch(server.url + script.lstrip("/"))[0] == 200


def test_previews_are_the_records_bytes_and_may_be_kept(server, session) -> None:
    jpeg = session.db.execute("SELECT preview FROM results").fetchone()[0]
    status, headers, body = fetch(f"{server.url}preview/1.jpg")
    assert (status, headers["Content-Type"], body) == (200, "image/jpeg", jpeg)
    assert "no-cache" in headers["Cache-Control"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    stamp = headers["Etag"].strip('"').split("-")[0]
    assert "immutable" in fetch(f"{server.url}preview/1.jpg?v={stamp}")[1]["Cache-Control"]
    assert "no-cache" in fetch(f"{server.url}preview/1.jpg?v=0")[1]["Cache-Control"]
    assert fetch(f"{server.url}preview/1.jpg", If_None_Match=headers["Etag"])[0] == 304


@pytest.mark.parametrize(
    "path",
    [
        "preview/2.jpg",
        "preview/x.jpg",
        "preview/1.png",
        "preview/1.jpg?session=..",
        "crop/9.png",
        "crop/1.png?session=..",
    ],
)
def test_what_is_not_there_is_404(server, path) -> None:
    assert fetch(server.url + path)[0] == 404


def test_a_crop_is_a_picture_that_is_asked_for_each_time(server) -> None:
    status, headers, body = fetch(f"{server.url}crop/1.png")
    assert (status, headers["Content-Type"], body[:4]) == (200, "image/png", b"\x89PNG")
    assert "no-cache" in headers["Cache-Control"]


def test_health(server) -> None:
    status, headers, body = fetch(f"{server.url}health")
    assert (status, json.loads(body)["faultwatch"]) == (200, "dashboard")
    assert headers["Cache-Control"] == "no-store"


ROUTES = [
    "",
    "session",
    "preview/1.jpg",
    "crop/1.png",
    "health",
    "autoload.js?bokeh-autoload-element=1",
    "metadata",
    "static/js/bokeh.min.js",
]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    ],
)
def test_other_sites_stay_out_of_every_route(server, path, headers) -> None:
    headers = {name: value.format(port=server.port) for name, value in headers.items()}
    assert fetch(server.url + path, **headers)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:{port}"},
        {"Origin": "http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
    ],
)
def test_the_page_itself_and_people_come_in(server, headers) -> None:
    headers = {name: value.format(port=server.port) for name, value in headers.items()}
    assert fetch(f"{server.url}health", **headers)[0] == 200


def test_a_websocket_of_another_origin_is_refused(server) -> None:
    shake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    shake["Sec_WebSocket_Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    assert fetch(f"{server.url}ws", Origin="http://evil.example", **shake)[0] == 403


def test_only_this_machine_can_reach_it(server) -> None:
    sockets = server.bokeh._http._sockets.values()
    assert {each.getsockname()[0] for each in sockets} == {"127.0.0.1"}


def test_a_folder_of_sessions_is_a_list_and_each_session_a_page(tmp_path, make_session, serving) -> None:
    first, second = (make_session(tmp_path / name) for name in ("first", "second one"))
    first.analysed("yes")
    second.analysed("no", "no")
    with serving(tmp_path) as server:
        listed = pull_session(url=server.url)
        assert "second one" in listed.document.get_model_by_name("sessions").text
        listed.close()
        page = pull_session(url=f"{server.url}session", arguments={"session": "second one"})
        url = page.document.get_model_by_name("frame_picture_source").data["url"][0]
        assert "session=second%20one" in url
        page.close()
        jpeg = second.db.execute("SELECT preview FROM results").fetchone()[0]
        assert fetch(server.url + url)[2] == jpeg
        assert fetch(f"{server.url}preview/1.jpg")[0] == 404
        unknown = pull_session(url=f"{server.url}session", arguments={"session": "../first"})
        assert unknown.document.get_model_by_name("sessions") is not None
        unknown.close()


def test_viewers_come_and_go_and_no_document_is_left(session, serving) -> None:
    session.analysed("yes", "no")
    gc.collect()
    # By type, not isinstance: some objects of other libraries warn when they are asked for their class.
    before = {id(each) for each in gc.get_objects() if type(each) is Document}
    with serving(session.directory, unused_session_ms=100) as server:
        for _ in range(5):
            viewer = pull_session(url=server.url)
            assert viewer.document.get_model_by_name("frame_picture_source").data["url"]
            viewer.close()
        del viewer
        assert until(lambda: not server.bokeh.get_sessions("/"))
        assert until(lambda: len(server.views) == 0)

        def left() -> list[Document]:
            gc.collect()
            return [each for each in gc.get_objects() if type(each) is Document and id(each) not in before]

        assert until(lambda: not left()), left()


@pytest.mark.slow
def test_a_viewer_that_never_reads_piles_nothing_up(session, serving) -> None:
    from bokeh.util.token import generate_jwt_token, generate_session_id

    session.analysed("yes")
    with serving(session.directory) as server:
        token = generate_jwt_token(generate_session_id())
        with socket.create_connection(("127.0.0.1", server.port)) as viewer:
            viewer.sendall(
                f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                f"Sec-WebSocket-Protocol: bokeh, {token}\r\nOrigin: http://127.0.0.1:{server.port}\r\n\r\n".encode()
            )
            assert until(lambda: server.bokeh.get_sessions("/"))
            (viewed,) = server.bokeh.get_sessions("/")
            callbacks = len(viewed.document.session_callbacks)
            for _ in range(30):
                session.analysed("yes", "no", preview=False)
                time.sleep(0.02)
            assert len(viewed.document.session_callbacks) == callbacks == 1
            # Another viewer is served meanwhile.
            other = pull_session(url=server.url)
            assert "frame 31" in other.document.get_model_by_name("frame_caption").text
            other.close()


def test_the_next_port_is_taken_where_one_is_busy(session, serving) -> None:
    with serving(session.directory) as first:
        listener, port = _bind("127.0.0.1", first.port)
        listener.close()
        assert first.port < port < first.port + 20


def test_other_hosts_and_files_are_refused_in_a_sentence(session) -> None:
    with pytest.raises(InputError, match=r"this computer only.*0\.0\.0\.0"):
        serve(session.directory, sharing=Sharing(host="0.0.0.0"), open_browser=False)
    with pytest.raises(InputError, match="is no folder"):
        serve(session.directory / "session.sqlite", open_browser=False)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_ends_cleanly_when_told(session, number) -> None:
    program = (
        "import sys; from pathlib import Path; from dashboard.server import serve;"
        "told = lambda server: print(server.url, flush=True);"
        "sys.exit(serve(Path(sys.argv[1]), port=0, open_browser=False, ready=told))"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, str(session.directory)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert fetch(f"{url}health")[0] == 200
        viewer = pull_session(url=url)
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=20)
        viewer.close()
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (0, "")
