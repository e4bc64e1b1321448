"""Where a browser may be sent, and which request is one of our own pages'."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from appliance.api import origin
from appliance.api.problems import loggable
from appliance.errors import Forbidden, RequestError
from appliance.settings import Settings

BOX = Settings()
HTTPS = Settings(public_url="https://box.plant.example")


def asked(
    path: str = "/",
    method: str = "GET",
    peer: str | None = "10.0.0.7",
    scheme: str = "http",
    query: str = "",
    **headers: str,
) -> Request:
    given = {"host": "box:8000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(
        {
            "type": "http",
            "method": method,
            "scheme": scheme,
            "path": path,
            "query_string": query.encode(),
            "server": ("box", 8000),
            "client": (peer, 1234) if peer else None,
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        }
    )


def followed(target: str) -> str:
    """Where a browser on our page goes: it drops control characters, and takes a backslash for a slash."""
    cleaned = "".join(c for c in target.strip("".join(map(chr, range(33)))) if c not in "\t\r\n").replace("\\", "/")
    return urljoin("http://box:8000/sign-in", cleaned)


@pytest.mark.parametrize(
    "target",
    ["/", "/files/1/report", "/alarms?state=open&limit=5", "/a#b", "/%2f%2fevil.example", "http://box:8501/",
     "http://BOX:8501/page?x=1", "https://box/", "http://box"],
)  # fmt: skip
def test_paths_of_ours_and_other_ports_of_this_host_are_gone_to(target: str) -> None:
    assert origin.landing(asked(), BOX, target) == target
    assert urlsplit(followed(target)).hostname == "box"


@pytest.mark.parametrize(
    "target",
    [None, "", "evil", "//evil.example", "///evil.example", "/\\evil.example", "\\/evil.example", "/\t/evil.example",
     "/\n/evil.example", "\t//evil.example", " //evil.example", "http://evil.example", "https:evil.example",
     "http:/evil.example", "http:///evil.example", "http://box@evil.example", "http://box:pw@evil.example/",
     "http://box:8501@evil.example", "http://box.evil.example", "http://evil.example#box", "http://evil.example\\@box/",
     "http://box:8501\\.evil.example", "http://boxx", "http://box:999999", "http://box?x", "http://[::1]/",
     "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "ftp://box/", "/\x00", "/\x7f", "/ä",
     "/x\r\nset-cookie: a=b", "/" + "x" * 2000],
)  # fmt: skip
def test_nowhere_else(target: str | None) -> None:
    assert origin.landing(asked(), BOX, target) is None


@given(st.text(st.sampled_from("/\\.:@?#[]%\t\n \0\x85abhtpsoxevil0123456789-_ä"), max_size=40))
@example("http://box:80/..//evil")
def test_whatever_is_asked_for_the_browser_stays_on_this_host(target: str) -> None:
    wanted = origin.landing(asked(), BOX, target)
    if wanted is not None:
        assert wanted == target
        assert urlsplit(followed(wanted)).hostname == "box"
        assert urlsplit(followed(wanted)).username is None
        assert wanted.isascii()
        assert wanted.isprintable()
        assert ";" not in origin.elsewhere(wanted)


def test_from_https_nobody_is_sent_to_http() -> None:
    assert origin.landing(asked(scheme="https"), BOX, "http://box:8501/") is None
    assert origin.landing(asked(scheme="https"), BOX, "https://box:8501/") is not None
    assert origin.landing(asked(host="box.plant.example"), HTTPS, "http://box.plant.example:8501/") is None


@given(st.text(min_size=1, max_size=30), st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
def test_the_way_back_is_what_was_asked_for(step: str, query: str) -> None:
    path = f"/files/{step}"
    back = origin.back_here(asked(path, query=query.replace("#", "")))
    given = Request({"type": "http", "query_string": back[1:].encode(), "headers": []}).query_params["next"]
    assert given.startswith(quote(path, safe="/", errors="surrogatepass"))
    assert origin.landing(asked(), BOX, given) == (given if "\\" not in given else None)


OWN = ["http://box:8000", "HTTP://BOX:8000", "https://box:8000"]
FOREIGN = ["null", "http://box", "http://box:8501", "http://evil.example", "http://box:8000.evil.example", "",
           "http://box:8000/", "http://xbox:8000"]  # fmt: skip


@pytest.mark.parametrize("own", OWN)
def test_our_own_pages_may_change_things(own: str) -> None:
    origin.demand_own(asked(method="POST", origin=own), BOX)
    origin.demand_own(asked(method="POST", origin=own, sec_fetch_site="same-origin"), BOX)


@pytest.mark.parametrize("foreign", FOREIGN)
def test_pages_of_others_may_not_whatever_else_they_send(foreign: str) -> None:
    for more in ({}, {"sec_fetch_site": "same-origin"}, {"x_appliance_request": "1"}):
        with pytest.raises(Forbidden):
            origin.demand_own(asked(method="POST", origin=foreign, **more), BOX)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "post"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", ""])
def test_a_browser_that_names_no_origin_says_whether_it_is_the_same(method: str, site: str) -> None:
    with pytest.raises(Forbidden):
        origin.demand_own(asked(method=method, sec_fetch_site=site, x_appliance_request="1"), BOX)
    origin.demand_own(asked(method=method, sec_fetch_site="same-origin"), BOX)


def test_a_program_says_that_it_is_one() -> None:
    with pytest.raises(Forbidden):
        origin.demand_own(asked(method="POST"), BOX)
    origin.demand_own(asked(method="POST", x_appliance_request="1"), BOX)
    origin.demand_own(asked(method="GET", origin="http://evil.example"), BOX)


def test_behind_https_a_page_of_http_is_a_strangers() -> None:
    behind = {"peer": None, "host": "box.plant.example"}
    origin.demand_own(asked(method="POST", origin="https://box.plant.example", **behind), HTTPS)
    with pytest.raises(Forbidden):
        origin.demand_own(asked(method="POST", origin="http://box.plant.example", **behind), HTTPS)
    # A proxy that does not pass the name on that the browser used.
    origin.demand_own(asked(method="POST", origin="https://box.plant.example", host="127.0.0.1:8000"), HTTPS)


def test_a_default_port_need_not_be_named() -> None:
    for host, own in (("box", "http://box"), ("box:80", "http://box"), ("box:443", "https://box")):
        origin.demand_own(asked(method="POST", host=host, origin=own), BOX)


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("10.0.0.7", "10.9.9.9", "10.0.0.7"),  # anyone can write it
        (None, "10.9.9.9", "10.9.9.9"),
        ("127.0.0.1", "10.9.9.9", "10.9.9.9"),
        ("::1", "1.2.3.4, 10.9.9.9", "10.9.9.9"),  # what came before the last proxy may be a lie
        ("127.0.0.1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2"),
        ("127.0.0.1", "a\tforged line", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        (None, "", "local"),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2"),
    ],
)
def test_guesses_are_counted_for_whom_a_proxy_of_ours_names(peer: str | None, forwarded: str, counted: str) -> None:
    assert origin.address(asked(peer=peer, **({"x_forwarded_for": forwarded} if forwarded else {}))) == counted


def test_https_is_known_from_the_request_a_proxy_or_the_setting() -> None:
    assert not origin.secure(asked(), BOX)
    assert origin.secure(asked(scheme="https"), BOX)
    assert origin.secure(asked(peer=None, x_forwarded_proto="https"), BOX)
    assert not origin.secure(asked(x_forwarded_proto="https"), BOX)
    assert origin.secure(asked(), HTTPS)


def test_a_person_is_a_name_and_nothing_else() -> None:
    assert origin.person(asked()) == ""
    assert origin.person(asked(x_appliance_person="J%C3%BCrgen%20%20M. ")) == "Jürgen M."
    assert origin.person(asked(x_appliance_person="Anna")) == "Anna"
    for wrong in ("", "%20", "%ff", "a%0ab%00", "%E2%80%AEanna", "x" * 61, "%1b[31m", "Jürgen"):
        with pytest.raises(RequestError):
            origin.person(asked(x_appliance_person=wrong))


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_whatever_a_person_is_said_to_be_no_line_is_forged(name: str) -> None:
    try:
        found = origin.person(asked(x_appliance_person=name))
    except RequestError:
        return
    assert found.isprintable() or not set(found) & set("\n\r\0\x1b")
    assert 0 < len(found) <= 60


@pytest.mark.parametrize(
    "path",
    ["/welcome/SECRET", "/enter/SECRET", "/Welcome/SECRET/", "//welcome//SECRET", "/x/enter/SECRET", "/welcomeSECRET",
     "/welcome\nSECRET", "/welcome/a/SECRET"],
)  # fmt: skip
def test_the_secret_of_a_link_is_not_logged_however_it_is_mistyped(path: str) -> None:
    assert "SECRET" not in loggable(path)
    assert "\n" not in loggable(path)


def test_other_paths_are_logged_as_they_are() -> None:
    assert loggable("/files/12/report") == "/files/12/report"
    assert loggable("/a\nINFO forged") == "/a\\nINFO forged"
