"""Who may have a shared page: tokens, cookies, names and origins."""

import stat

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from dashboard.access import Access, Role, checked_origins, checked_prefix, sharing_key
from dashboard.server import Sharing
from monitor.errors import InputError

KEY = bytes(range(32))


class Connection:
    """As much of a connection as a request asks for."""

    context = None


def request(**headers: str) -> HTTPServerRequest:
    named = HTTPHeaders({name.replace("_", "-"): value for name, value in headers.items()})
    line = RequestStartLine("GET", "/", "HTTP/1.1")
    return HTTPServerRequest(start_line=line, headers=named, connection=Connection())


@pytest.fixture
def access(tmp_path) -> Access:
    return Access(5006, tmp_path, KEY, frozenset({"10.0.0.7"}), frozenset({"https://lab.example.org"}))


def test_a_token_gives_its_role_and_nothing_else_does(access, tmp_path) -> None:
    for role in Role:
        assert access.role_of_token(access.token(role)) is role
        assert access.role_of_cookie(access.cookie(role)) is role
        assert access.role({access.cookie_name: access.cookie(role)}) is role
    assert access.token(Role.OPERATOR) != access.token(Role.VIEWER)
    assert access.role_of_token("") is None
    assert access.role_of_cookie(None) is None
    assert access.role({}) is None
    cookie = access.cookie(Role.VIEWER)
    assert access.role_of_cookie(cookie[:-1] + ("0" if cookie[-1] != "0" else "1")) is None
    for other in (Access(5006, tmp_path / "other", KEY), Access(5006, tmp_path, bytes(32))):
        assert other.role_of_token(access.token(Role.OPERATOR)) is None
        assert other.role_of_cookie(access.cookie(Role.OPERATOR)) is None


def test_without_sharing_whoever_comes_from_this_computer_is_an_operator(tmp_path) -> None:
    assert Access(5006, tmp_path).role({}) is Role.OPERATOR


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Host": "127.0.0.1:5006"}, True),
        ({"Host": "localhost:8080", "Origin": "http://localhost:8080"}, True),  # a tunnel
        ({"Host": "localhost:8080", "Origin": "http://localhost:5006"}, False),
        ({"Host": "10.0.0.7:5006"}, True),
        ({"Host": "10.0.0.7:80"}, False),
        ({"Host": "lab.example.org", "Origin": "https://lab.example.org"}, True),
        ({"Host": "lab.example.org", "Origin": "https://evil.example"}, False),
        ({"Host": "127.0.0.1:5006", "Origin": "https://lab.example.org"}, False),
        ({"Host": "evil.example:5006"}, False),
        ({"Host": "localhost:evil"}, False),
        ({"Host": "127.0.0.1:5006", "Sec_Fetch_Site": "cross-site"}, False),
    ],
)
def test_names_and_origins_are_exact(access, headers, allowed) -> None:
    assert access.from_here(request(**headers)) is allowed


def test_a_page_that_is_not_shared_knows_its_own_port_alone(tmp_path) -> None:
    alone = Access(5006, tmp_path)
    assert alone.from_here(request(Host="localhost:5006"))
    assert not alone.from_here(request(Host="localhost:8080"))


def test_the_key_is_kept_for_the_next_time_and_is_for_this_user_alone(tmp_path) -> None:
    path = tmp_path / "state" / "page.key"
    first = sharing_key(path)
    assert len(first) == 32
    assert sharing_key(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"short")
    with pytest.raises(InputError, match="delete it"):
        sharing_key(path)


@pytest.mark.parametrize("origin", ["lab.example.org", "https://lab.example.org/", "ftp://lab", "https://"])
def test_what_is_no_origin_is_refused(origin) -> None:
    with pytest.raises(InputError, match="is no origin"):
        checked_origins([origin])


def test_prefixes() -> None:
    assert checked_prefix("") == checked_prefix("/") == ""
    assert checked_prefix("lab/fw/") == "/lab/fw"
    for bad in ("/a b", "/..", "/a//b", "/a?b", "/<b>"):
        with pytest.raises(InputError, match="is no path"):
            checked_prefix(bad)


def test_only_a_shared_page_listens_beyond_this_computer() -> None:
    assert Sharing().address() == "127.0.0.1"
    assert Sharing(share=True).address() == "0.0.0.0"
    assert Sharing(host="localhost", share=True).address() == "127.0.0.1"
    with pytest.raises(InputError, match="--share"):
        Sharing(host="0.0.0.0").address()
