"""People sign in: through the real API, as a browser does and as whoever attacks it would."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from appliance import passwords
from appliance.api import door, schema
from appliance.api.app import create_app
from appliance.api.auth import COOKIE
from appliance.client import SESSION_COOKIE, Client
from appliance.errors import Forbidden, Unauthorized
from appliance.settings import Settings
from appliance.store import alarms, sessions, users
from appliance.store.engine import transaction
from tests import counts, profiles
from tests.api.conftest import People, Shelf, box, browser, running, running_tcp
from tests.api.test_serve import await_ready, served
from tests.unit.store import made

PASSWORD = "blaue Tonne am Tor"
OTHER = "gelbe Leiter im Hof"
ROW = schema.example_row(profiles.load("milling"))
PAGE = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
DAY = timedelta(days=1)


@pytest.fixture
def settings(tmp_path: Path, dsn: str, shelf: Shelf) -> Settings:
    return box(tmp_path / "box", dsn, shelf).model_copy(
        update={"api_guesses_per_minute": 200, "site": "plant-7", "timezone": "Europe/Berlin"}
    )


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals need not wait to be alike here."""
    monkeypatch.setattr(door, "_REFUSAL_SECONDS", 0.0)


@pytest.fixture(scope="module", autouse=True)
def kept() -> Iterator[str]:
    """PASSWORD as it is kept; hashes are cheap here, since this is not about them."""
    with pytest.MonkeyPatch.context() as cheap:
        cheap.setattr(passwords, "_MEMORY_KIB", 64)
        cheap.setattr(passwords, "_PASSES", 1)
        cheap.setattr(passwords, "_MARK", "$argon2id$v=19$m=64,t=1,p=1$")
        passwords._nobodys.cache_clear()
        yield passwords.hashed(PASSWORD)
    passwords._nobodys.cache_clear()


@pytest.fixture
def add(engine: Engine, kept: str) -> Callable[..., users.User]:
    """Add a user who has chosen PASSWORD."""

    def add(name: str, role: Any = "operator", **more: Any) -> users.User:
        with transaction(engine) as connection:
            user = users.add(connection, name, role, **more)
            users.set_password(connection, user, kept)
        return user

    return add


@pytest.fixture
def site(app: FastAPI) -> Iterator[str]:
    """The app's address, as a browser writes it."""
    with running_tcp(app) as url:
        yield url


@pytest.fixture
def open_browser(site: str) -> Iterator[Callable[[], Browser]]:
    opened: list[Browser] = []

    def open_one() -> Browser:
        opened.append(Browser(site))
        return opened[-1]

    yield open_one
    for one in opened:
        one.http.close()


@pytest.fixture
def tab(open_browser: Callable[[], Browser]) -> Browser:
    return open_browser()


class Browser:
    """What a browser does with our pages: keeps cookies, sends forms with its origin, follows nothing unasked."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.http = httpx.Client(base_url=site, headers=PAGE, timeout=30, trust_env=False)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(path, headers=headers)

    def submit(self, path: str, origin: str | None = None, **fields: str) -> httpx.Response:
        return self.http.post(path, data=fields, headers={"origin": origin or self.site})

    def sign_in(self, name: str, password: str = PASSWORD, **more: str) -> httpx.Response:
        return self.submit("/sign-in", name=name, password=password, **more)

    @property
    def cookie(self) -> str | None:
        return self.http.cookies.get(COOKIE)

    def hold(self, cookie: str) -> None:
        self.http.cookies.clear()
        self.http.cookies.set(COOKIE, cookie, domain="127.0.0.1")

    def who(self) -> dict[str, Any] | None:
        answer = self.http.get("/whoami", headers={"accept": "application/json"})
        return answer.json() if answer.status_code == 200 else None


def link(engine: Engine, name: str, purpose: Any = "welcome") -> str:
    with transaction(engine) as connection:
        return sessions.make_link(connection, name, purpose, DAY)


def told(response: httpx.Response) -> str:
    """The sentence of a page that says what went wrong."""
    assert response.headers["content-type"].startswith("text/html"), response.text
    assert response.text.count("<h1>") == 1
    found = re.search(r'role="(?:alert|status)"[^>]*>([^<]*)<', response.text)
    return html.unescape(found[1]) if found else ""


def goes_to(response: httpx.Response) -> str:
    assert response.status_code == 303, response.text
    return response.headers["location"]


# The way in


def test_a_person_comes_by_a_link_chooses_a_password_and_stays(
    engine: Engine, tab: Browser, open_browser: Callable[[], Browser]
) -> None:
    with transaction(engine) as connection:
        users.add(connection, "ann", "engineer")
    path = link(engine, "ann")
    for _ in range(2):  # looking does not use it up
        page = tab.get(path)
        assert page.status_code == 200
        for word in ("ann", "engineer", "decide which model serves", "plant-7", "12 characters"):
            assert word in page.text
    for new, again, word in (
        ("short", "short", "short"),
        ("password1234", "password1234", "first"),
        (PASSWORD, OTHER, "differ"),
    ):
        refused = tab.submit(path, new=new, again=again)
        assert refused.status_code == 400
        assert word in told(refused)
        assert tab.cookie is None
        assert new not in refused.text.replace(told(refused), "")
    signed = tab.submit(path, new=PASSWORD, again=PASSWORD)
    assert goes_to(signed) == "/account"
    assert tab.who() == {
        "name": "ann", "role": "engineer", "source": "webapp", "kind": "user", "station": False, "person": None,
        "expires_at": tab.who()["expires_at"],  # type: ignore[index]
    }  # fmt: skip
    assert "ann" in tab.get("/account").text
    stranger = open_browser()
    for used in (stranger.get(path), stranger.submit(path, new=OTHER, again=OTHER)):
        assert used.status_code == 404
        assert "once" in told(used)
    assert stranger.who() is None
    assert goes_to(stranger.sign_in("Ann ")) == "/account"
    assert stranger.who() is not None
    assert goes_to(tab.submit("/sign-out")) == "/sign-in?out"
    assert tab.cookie is None
    assert tab.who() is None
    assert told(tab.get("/sign-in?out")) == "You are signed out."


def test_the_cookie_is_kept_from_scripts_and_from_forms_of_others(tab: Browser, add: Callable[..., users.User]) -> None:
    add("ann")
    cookie = tab.sign_in("ann").headers["set-cookie"]
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert parts == {"httponly", "samesite=lax", "path=/", f"max-age={7 * 24 * 3600}"}
    assert cookie.startswith(f"{COOKIE}=")
    assert COOKIE == SESSION_COOKIE
    left = tab.submit("/sign-out").headers["set-cookie"].lower()
    assert "max-age=0" in left
    assert "path=/" in left


def test_over_https_the_cookie_keeps_to_it(app: FastAPI, add: Callable[..., users.User], tmp_path: Path) -> None:
    add("ann")
    with running(app, tmp_path / "proxy.sock") as address, browser(address) as http:
        forwarded = {"x-forwarded-proto": "https", "origin": "https://appliance"}
        signed = http.post("/sign-in", data={"name": "ann", "password": PASSWORD}, headers=forwarded)
        assert "; secure" in signed.headers["set-cookie"].lower()


def test_a_station_stays_signed_in_for_long(tab: Browser, add: Callable[..., users.User]) -> None:
    add("station-3", station=True)
    assert f"max-age={180 * 24 * 3600}" in tab.sign_in("station-3").headers["set-cookie"].lower()


def test_the_pages_run_nothing_and_load_nothing(tab: Browser, engine: Engine, add: Callable[..., users.User]) -> None:
    add("ann")
    pages = [tab.get("/sign-in"), tab.get(link(engine, "ann")), tab.sign_in("ann", "wrong")]
    tab.sign_in("ann")
    pages += [tab.get("/account"), tab.get("/welcome/nothing"), tab.submit("/sign-in", "http://evil.example")]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        for word in ("form-action 'self';", "base-uri 'none'", "frame-ancestors 'none'"):
            assert word in policy
        assert "unsafe" not in policy
        assert page.headers["referrer-policy"] == "same-origin"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-frame-options"] == "DENY"
        for word in ("<script", "src=", "style=", "http://", "https://", " on"):
            assert word not in re.sub(r">[^<]*<", "><", page.text), word
        assert '<meta name="viewport"' in page.text
        for field in re.findall(r'<input id="(\w+)"', page.text):
            assert f'<label for="{field}">' in page.text


def test_what_was_typed_is_shown_as_text(tab: Browser) -> None:
    name = "\"><script>alert(1)</script>'"
    page = tab.submit("/sign-in", name=name, password="x", next='/"><b>')
    assert "<script" not in page.text
    assert html.escape(name) in page.text.replace("&#39;", "&#x27;").replace("&#34;", "&quot;")
    assert "<b>" not in tab.get('/sign-in?next=/"><b>').text


# Deep links


def test_a_deep_link_survives_the_sign_in(tab: Browser, add: Callable[..., users.User]) -> None:
    add("ann")
    asked = "/predictions?machine=a%2Fb&limit=5"
    first = goes_to(tab.get(asked))
    assert first.startswith("/sign-in?next=")
    page = tab.get(first)
    wanted = html.unescape(re.findall(r'name="next" value="([^"]*)"', page.text)[0])
    assert wanted == asked
    again = tab.sign_in("ann", "wrong", next=wanted)
    assert html.unescape(re.findall(r'name="next" value="([^"]*)"', again.text)[0]) == asked
    assert goes_to(tab.sign_in("ann", next=wanted)) == asked
    assert tab.get(asked).status_code == 200
    assert goes_to(tab.get(first)) == asked
    assert goes_to(tab.get("/")) == "/account"


def test_pages_of_another_port_are_led_back_to_and_no_other_host(tab: Browser, add: Callable[..., users.User]) -> None:
    add("ann")
    screen = "http://127.0.0.1:8501/alarms?machine=1"
    page = tab.get("/sign-in?next=" + screen.replace("?", "%3F"))
    assert "form-action 'self' http://127.0.0.1:8501;" in page.headers["content-security-policy"]
    assert goes_to(tab.sign_in("ann", next=screen)) == screen
    for evil in ("http://evil.example/", "//evil.example", "/\\evil.example", "http://127.0.0.1@evil.example/"):
        assert goes_to(tab.sign_in("ann", next=evil)) == "/account"
        assert "evil" not in tab.http.get("/sign-in", params={"next": evil}).headers["location"]


def test_programs_get_a_problem_and_no_page(tab: Browser) -> None:
    for headers in (
        {"accept": "*/*"},
        {"accept": "application/json"},
        {"sec-fetch-mode": "cors"},
        {"authorization": "Bearer fa_wrong"},
    ):
        response = tab.get("/files", **headers)
        assert response.status_code == 401
        assert response.json()["code"] == "unauthorized"
    assert tab.http.post("/predict", headers={"origin": tab.site}).status_code == 401


# Who guesses


def test_a_wrong_name_and_a_wrong_password_are_answered_alike(
    tab: Browser, engine: Engine, add: Callable[..., users.User], monkeypatch: pytest.MonkeyPatch
) -> None:
    add("ann")
    add("off")
    with transaction(engine) as connection:
        users.set_disabled(connection, "off", True)
        users.add(connection, "new", "admin")
    looks: list[str] = []
    real = passwords.fits
    monkeypatch.setattr(passwords, "fits", lambda word, kept: looks.append(word) or real(word, kept))
    answers: dict[str, list[tuple[int, str]]] = {}
    tries = {"ann": "wrong", "off": PASSWORD, "new": "", "nobody": PASSWORD, "a b\0c": PASSWORD, "x" * 500: PASSWORD}
    for name, password in tries.items():
        before = len(looks)
        for _ in range(6):
            said = tab.sign_in(name, password)
            answers.setdefault(name, []).append((said.status_code, re.sub(r"\d+ s", "a while", told(said))))
            assert tab.cookie is None
        assert "retry-after" in tab.sign_in(name).headers  # the right one too, while it lasts
        assert len(looks) - before == 5  # the same work, and none once locked
    first = answers.pop("ann")
    assert [status for status, _ in first] == [401] * 4 + [429] * 2
    assert "Try again in a while" in first[-1][1]
    for name, found in answers.items():
        assert found == first, name
    with transaction(engine) as connection:
        events = connection.execute(text("SELECT message FROM event WHERE kind = 'sign_in_locked'")).scalars().all()
    assert len(events) == 3
    assert not [event for event in events if "nobody" in event]


def test_a_lock_leaves_who_is_signed_in_alone_and_a_link_ends_it(
    engine: Engine, open_browser: Callable[[], Browser], add: Callable[..., users.User]
) -> None:
    add("ann")
    inside, guesser = open_browser(), open_browser()
    inside.sign_in("ann")
    for _ in range(6):
        guesser.sign_in("ann", "wrong")
    assert guesser.sign_in("ann").status_code == 429
    assert inside.who() is not None
    assert inside.get(link(engine, "ann")).status_code == 200
    guesser.submit(link(engine, "ann"), new=OTHER, again=OTHER)
    assert guesser.who() is not None
    assert inside.who() is None


def test_an_address_guesses_so_often_a_minute_whatever_names_it_takes(
    app: FastAPI, settings: Settings, engine: Engine, add: Callable[..., users.User], tmp_path: Path
) -> None:
    add("ann")
    strict = create_app(settings.model_copy(update={"api_guesses_per_minute": 3}), engine)
    with running(strict, tmp_path / "strict.sock") as address, browser(address) as http:

        def sign_in(name: str, password: str, address: str) -> httpx.Response:
            headers = {"origin": "http://appliance", "x-forwarded-for": address}
            return http.post("/sign-in", data={"name": name, "password": password}, headers=headers)

        for _ in range(5):  # right ones are no guesses
            assert sign_in("ann", PASSWORD, "10.0.0.7").status_code == 303
        for number in range(3):
            assert sign_in(f"user-{number}", "wrong", "10.0.0.7").status_code == 401
        for name in ("ann", "user-9"):
            blocked = sign_in(name, PASSWORD, "10.0.0.7")
            assert blocked.status_code == 429
            assert 0 < int(blocked.headers["retry-after"]) <= 60
            assert "address" in told(blocked)
        assert sign_in("ann", PASSWORD, "10.0.0.8").status_code == 303
    with transaction(engine) as connection:
        events = connection.execute(text("SELECT severity, details FROM event WHERE kind = 'sign_in_guessing'")).all()
    assert [tuple(event) for event in events] == [("warning", {"address": "10.0.0.7"})]


def test_refusals_take_the_same_time_whatever_was_wrong(
    tab: Browser, add: Callable[..., users.User], monkeypatch: pytest.MonkeyPatch
) -> None:
    add("ann")
    monkeypatch.setattr(door, "_REFUSAL_SECONDS", 0.3)
    for name in ("ann", "nobody", "a b"):
        began = time.monotonic()
        assert tab.sign_in(name, "wrong").status_code == 401
        assert time.monotonic() - began >= 0.3  # no less; how much more is the machine's


def test_a_session_cannot_be_guessed_or_given_to_somebody(
    open_browser: Callable[[], Browser], add: Callable[..., users.User]
) -> None:
    add("ann")
    victim, thief = open_browser(), open_browser()
    victim.hold("A" * sessions.LENGTH)
    victim.sign_in("ann")
    thief.hold("A" * sessions.LENGTH)
    assert thief.who() is None
    assert victim.who() is not None
    first = victim.cookie
    victim.sign_in("ann")
    thief.hold(first or "")
    assert thief.who() is None  # a browser that signs in anew leaves nothing behind
    for odd in ("", "x", "A" * 5000, "%00", "' OR 1=1 --"):
        thief.http.cookies.clear()
        assert thief.get("/files", cookie=f"{COOKIE}={odd}", accept="*/*").status_code == 401


# Pages of others


def test_what_changes_something_has_to_come_from_a_page_of_ours(
    tab: Browser, add: Callable[..., users.User], people: People
) -> None:
    add("ann", "admin")
    tab.sign_in("ann")

    def post(**headers: str) -> int:
        return tab.http.post("/alarms/1/ack", headers={"accept": "*/*", **headers}).status_code

    foreign = ({}, {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:8501"},
               {"origin": "http://evil.example", "x-appliance-request": "1"}, {"sec-fetch-site": "same-site"},
               {"sec-fetch-site": "cross-site"}, {"content-type": "text/plain"})  # fmt: skip
    for headers in foreign:
        assert post(**headers) == 403, headers
    for headers in ({"origin": tab.site}, {"sec-fetch-site": "same-origin"}, {"x-appliance-request": "1"}):
        assert post(**headers) == 404, headers
    for path in (
        "/models/rollback?profile=milling",
        "/predict?profile=milling",
        "/parts/1/predict",
        "/alarms/1/snooze",
    ):
        assert tab.http.post(path, headers={"origin": "http://evil.example"}).status_code == 403
    assert tab.get("/alarms", origin="http://evil.example").status_code == 200  # CORS keeps the answer from it
    assert "access-control-allow-origin" not in tab.get("/alarms", origin="http://evil.example").headers
    # A token is no cookie: nothing adds it to a request unasked.
    assert people("admin").post("/alarms/1/ack", headers={"origin": "http://evil.example"}).status_code == 404


def test_forms_of_others_sign_nobody_in_or_out(tab: Browser, engine: Engine, add: Callable[..., users.User]) -> None:
    add("ann")
    path = link(engine, "ann")
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        for target, fields in (
            ("/sign-in", {"name": "ann", "password": PASSWORD}),
            (path, {"new": OTHER, "again": OTHER}),
        ):
            refused = tab.submit(target, origin, **fields)
            assert refused.status_code == 403
            assert "does not come from a page" in told(refused)
            assert "set-cookie" not in refused.headers
    tab.sign_in("ann")
    for target in ("/sign-out", "/account/sessions", "/account/password"):
        assert tab.submit(target, "http://evil.example").status_code == 403
    assert tab.who() is not None
    assert tab.get(path).status_code == 200


# What a session may


def test_the_role_decides(open_browser: Callable[[], Browser], add: Callable[..., users.User]) -> None:
    asks = {
        "viewer": "/files",
        "operator": "/people",
        "engineer": "/models/rollback?profile=x",
        "admin": "/parts/1/predict",
    }
    ranks = list(asks)
    for role in ranks:
        add(role, role)
        tab = open_browser()
        tab.sign_in(role)
        for needed, path in asks.items():
            method = "GET" if path in ("/files", "/people") else "POST"
            response = tab.http.request(method, path, headers={"origin": tab.site, "accept": "*/*"})
            allowed = ranks.index(role) >= ranks.index(needed)
            assert (response.status_code != 403) == allowed, (role, path, response.text)


def test_who_is_disabled_or_has_another_role_is_out_with_the_next_request(
    tab: Browser, engine: Engine, add: Callable[..., users.User]
) -> None:
    add("ann", "engineer")
    for change in (
        lambda connection: users.set_disabled(connection, "ann", True),
        lambda connection: users.set_role(connection, "ann", "viewer"),
        lambda connection: users.remove(connection, "ann"),
    ):
        tab.sign_in("ann")
        assert tab.who() is not None
        with transaction(engine) as connection:
            change(connection)
        assert tab.who() is None
        assert goes_to(tab.get("/account")) == "/sign-in?next=/account"
        with transaction(engine) as connection:
            if users.find(connection, "ann"):
                users.set_disabled(connection, "ann", False)


def test_predictions_of_a_session_are_those_of_a_screen(tab: Browser, add: Callable[..., users.User]) -> None:
    add("ann")
    tab.sign_in("ann")
    answer = tab.http.post(
        "/predict?profile=milling", json={"rows": [ROW]}, headers={"origin": tab.site, "accept": "application/json"}
    ).json()
    assert answer["source"] == "webapp"
    stored = tab.http.get(f"/predictions/{answer['predictions'][0]['id']}", headers={"accept": "*/*"}).json()
    assert stored["source"] == "webapp"


def test_a_token_and_a_user_of_one_name_are_two(
    tab: Browser, app: FastAPI, token: Callable[..., str], engine: Engine, add: Callable[..., users.User]
) -> None:
    add("ann")
    tab.sign_in("ann")
    bearer = {"authorization": f"Bearer {token('operator', name='ann')}"}

    def predict(**headers: str) -> httpx.Response:
        common = {"idempotency-key": "k", "accept": "application/json", "origin": tab.site}
        return tab.http.post("/predict?profile=milling", json={"rows": [ROW]}, headers=common | headers)

    mine, its = predict(), predict(**bearer)
    assert mine.json()["predictions"][0]["id"] != its.json()["predictions"][0]["id"]
    assert its.json()["source"] == "api"
    assert predict().headers["idempotent-replay"] == "true"
    # Who gets the name anew gets none of the answers.
    with transaction(engine) as connection:
        users.remove(connection, "ann")
    add("ann")
    tab.sign_in("ann")
    assert "idempotent-replay" not in predict().headers


def test_a_token_counts_before_the_cookie(
    tab: Browser, token: Callable[..., str], add: Callable[..., users.User]
) -> None:
    add("ann", "admin")
    tab.sign_in("ann")
    tab.http.headers["authorization"] = f"Bearer {token('viewer', name='press')}"
    assert (tab.who() or {})["name"] == "press"
    tab.http.headers["authorization"] = "Bearer fa_wrong"
    assert tab.who() is None


def test_a_station_notes_who_stands_before_it_and_nobody_else_does(
    tab: Browser, engine: Engine, site: str, token: Callable[..., str], add: Callable[..., users.User]
) -> None:
    with transaction(engine) as connection:
        plant = made.plant(connection)
        ids = [
            alarms.open_alarm(connection, machine, text("now()"), 1, 0.9, None, {})  # type: ignore[arg-type]
            for machine in plant.machines
        ]
    add("ann")
    add("station-3", station=True)
    tab.sign_in("station-3")
    with Client(site, session=tab.cookie, person="Jürgen M.") as api:
        assert api.people() == ["ann"]
        assert api.ack(ids[0])["acknowledged_by"] == "station-3: Jürgen M."
        assert (api.whoami()["name"], api.whoami()["person"]) == ("station-3", "Jürgen M.")
    with Client(site, session=tab.cookie) as api:
        assert api.ack(ids[1])["acknowledged_by"] == "station-3"
    tab.sign_in("ann")
    for pretender in ({"cookie": f"{COOKIE}={tab.cookie}"}, {"authorization": f"Bearer {token('operator')}"}):
        said = httpx.get(f"{site}/whoami", headers={**pretender, "x-appliance-person": "bob"}, trust_env=False)
        assert said.status_code == 400
        assert "Only a station" in said.json()["detail"]


def test_the_client_passes_a_session_on(site: str, tab: Browser, add: Callable[..., users.User]) -> None:
    add("ann", "viewer")
    tab.sign_in("ann")
    with Client(site, session=tab.cookie) as api:
        assert api.whoami()["name"] == "ann"
        assert list(api.files()) == []
        with pytest.raises(Forbidden):
            api.ack(1)
    for odd in (None, "", "a; b=c", "a\r\nx: y", "ä", "x" * 200):
        with Client(site, session=odd) as api, pytest.raises(Unauthorized):
            api.whoami()


def test_the_description_names_both_ways_in(tab: Browser, add: Callable[..., users.User]) -> None:
    add("ann", "viewer")
    tab.sign_in("ann")
    document = tab.http.get("/openapi.json", headers={"accept": "*/*"}).json()
    schemes = {scheme["type"]: name for name, scheme in document["components"]["securitySchemes"].items()}
    assert schemes.keys() == {"http", "apiKey"}
    assert document["components"]["securitySchemes"][schemes["apiKey"]]["name"] == COOKIE
    assert document["paths"]["/files"]["get"]["security"] == [{schemes["http"]: []}, {schemes["apiKey"]: []}]
    assert not [path for path in document["paths"] if path.startswith(("/sign", "/welcome", "/enter", "/account"))]


# The account


def test_a_person_changes_the_password_and_is_out_everywhere_else(
    open_browser: Callable[[], Browser], add: Callable[..., users.User]
) -> None:
    add("ann")
    here, there = open_browser(), open_browser()
    here.sign_in("ann")
    there.sign_in("ann")
    wrong = here.submit("/account/password", current="wrong", new=OTHER, again=OTHER)
    assert wrong.status_code == 401
    assert "wrong" in told(wrong)
    assert "first" in told(
        here.submit("/account/password", current=PASSWORD, new="ann-plant7-2026", again="ann-plant7-2026")
    )
    before = here.cookie
    changed = here.submit("/account/password", current=PASSWORD, new=OTHER, again=OTHER)
    assert told(here.get(goes_to(changed))) == "Your password is changed."
    assert here.cookie not in (before, None)
    assert there.who() is None
    assert there.sign_in("ann").status_code == 401
    assert there.sign_in("ann", OTHER).status_code == 303


def test_a_stolen_session_cannot_guess_the_password(tab: Browser, add: Callable[..., users.User]) -> None:
    add("ann")
    tab.sign_in("ann")
    statuses = [
        tab.submit("/account/password", current=f"wrong {number}", new=OTHER, again=OTHER).status_code
        for number in range(6)
    ]
    assert statuses == [401] * 4 + [429] * 2


def test_other_sessions_are_ended_on_request(
    open_browser: Callable[[], Browser], add: Callable[..., users.User]
) -> None:
    add("ann")
    here, there = open_browser(), open_browser()
    here.sign_in("ann")
    assert "everywhere else" not in told(here.get("/account"))
    there.sign_in("ann")
    assert here.get("/account").text.count("<tr>") == 3
    assert told(here.get(goes_to(here.submit("/account/sessions")))) == "You are signed out everywhere else."
    assert there.who() is None
    assert here.who() is not None


def test_whoever_stands_before_a_station_cannot_lock_out_the_others(
    tab: Browser, add: Callable[..., users.User]
) -> None:
    add("station-3", station=True)
    tab.sign_in("station-3")
    page = tab.get("/account").text
    assert "several people share" in page
    assert "password" not in page.lower()
    for path in ("/account/password", "/account/sessions"):
        assert tab.submit(path, current=PASSWORD, new=OTHER, again=OTHER).status_code == 403
    assert tab.who() is not None


# Links that sign in


def test_a_link_to_enter_works_once_and_leads_on(
    tab: Browser, engine: Engine, open_browser: Callable[[], Browser]
) -> None:
    with transaction(engine) as connection:
        path = sessions.entry(connection, "demo", "engineer", DAY)
    for looked_ahead in ({"sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"}):
        assert tab.get(path, **looked_ahead).status_code == 429
    assert tab.http.head(path).status_code == 405
    assert tab.get(f"/welcome/{path.rpartition('/')[2]}").status_code == 404
    assert tab.who() is None
    assert goes_to(tab.get(f"{path}?next=/docs")) == "/docs"
    assert (tab.who() or {})["role"] == "engineer"
    assert goes_to(tab.get(f"{path}?next=//evil.example")) == "/account"
    other = open_browser()
    assert other.get(path).status_code == 404
    assert other.who() is None


# What is left behind


def test_no_log_and_no_table_holds_a_secret(
    settings: Settings, engine: Engine, tmp_path: Path, add: Callable[..., users.User]
) -> None:
    """In a process as it runs on a box, at its most talkative."""
    add("ann")
    path, entry = link(engine, "ann"), link(engine, "ann", "enter")
    secrets = [path.rpartition("/")[2], entry.rpartition("/")[2], PASSWORD, OTHER]
    address, log = tmp_path / "api.sock", tmp_path / "log"
    own = {"origin": "http://appliance"}
    with (
        served(settings, log, APPLIANCE_API_SOCKET=str(address), APPLIANCE_LOG_LEVEL="debug") as process,
        Client(address) as api,
        browser(address) as http,
    ):
        await_ready(api, process, log)
        http.get(path)
        http.get(path.replace("/welcome/", "/Welcome//"))
        http.get(f"{path}/")
        http.post(path, data={"new": OTHER, "again": PASSWORD}, headers=own)
        secrets.append(http.get(entry).cookies[COOKIE])
        secrets.append(http.post(path, data={"new": OTHER, "again": OTHER}, headers=own).cookies[COOKIE])
        http.get(f"/sign-in?next={path}")
        assert http.post("/sign-in", data={"name": "ann", "password": PASSWORD}, headers=own).status_code == 401
        secrets.append(http.post("/sign-in", data={"name": "ann", "password": OTHER}, headers=own).cookies[COOKIE])
        process.terminate()
        process.wait(30)
    logged = log.read_text()
    assert "GET /welcome..." in logged
    assert "ann signed in from local" in logged
    with transaction(engine) as connection:
        names = ("event", "session", "link", '"user"', "request")
        kept = " ".join(str(connection.execute(text(f"SELECT t::text FROM {name} t")).all()) for name in names)
    assert "$argon2id$" in kept
    for secret in secrets:
        assert len(secret) > 10
        assert secret not in logged
        assert secret not in kept


def test_without_a_database_the_pages_say_so(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = create_app(settings.model_copy(update={"dsn": type(settings.dsn)("postgresql://a@127.0.0.1:1/none")}))  # type: ignore[misc, operator]
    with running_tcp(away) as url:
        tab = Browser(url)
        tab.hold("A" * sessions.LENGTH)
        for page in (
            tab.sign_in("ann"),
            tab.get("/welcome/SECRET"),
            tab.submit("/welcome/SECRET", new=OTHER, again=OTHER),
            tab.get("/enter/SECRET"),
            tab.get("/account"),
        ):
            assert page.status_code == 503
            assert "database cannot be reached" in told(page)
            assert page.headers["retry-after"]
        assert tab.get("/files").json()["code"] == "store_away"
        tab.http.close()
    logged = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("appliance"))
    assert "GET /welcome...: PostgreSQL cannot be reached" in logged
    assert "SECRET" not in logged


def test_forms_that_are_none_are_refused_in_a_sentence(tab: Browser) -> None:
    own = {"origin": tab.site}
    assert tab.http.post("/sign-in", json={"name": "ann"}, headers=own).status_code == 415
    assert tab.http.post("/sign-in", headers=own).status_code == 415
    form = own | {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"\xff", b"name=%ff", b"&".join(b"a=1" for _ in range(30))):
        assert "cannot be read" in told(tab.http.post("/sign-in", content=body, headers=form))
    assert tab.http.post("/sign-in", content=b"a" * 70_000, headers=form).status_code == 413


def test_no_form_makes_the_api_fail(tab: Browser) -> None:
    @hypothesis_settings(max_examples=counts.examples(60), database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(
            ["/sign-in", "/welcome/x", "/welcome/%00", "/account/password", "/sign-out", "/account/sessions"]
        ),
        st.dictionaries(st.sampled_from(["name", "next", "new", "again", "current", "x"]), st.text(max_size=30)),
    )
    def send(path: str, fields: dict[str, str]) -> None:
        clean = {key: value.encode("utf-8", "replace").decode() for key, value in fields.items()}
        response = tab.submit(path, **clean)
        assert response.status_code < 500, (path, fields, response.text)
        assert response.status_code == 303 or response.headers["content-type"].startswith("text/html")

    send()
