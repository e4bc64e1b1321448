"""People on the LAN come in by one https port: signed in once, on all pages, and past the proxy nobody comes.

All is asked from outside of the box, over its network. The tests run in this order on one box.
"""

from __future__ import annotations

import re
import socket
import subprocess
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from appliance.client import SESSION_COOKIE
from tests.box import host, lan, made, services
from tests.box.box import Box
from tests.box.installed import Installed
from tests.box.lan import NAME, OTHER, Lan
from tests.box.playbook import Playbook

pytestmark = pytest.mark.box

PASSWORD = "four lathes hum softly"
SCREENS, STREAM = "/screens", "/screens/_stcore/stream"
OWN = f"https://{NAME}"
# What the proxy may still do, as `systemd-analyze security` counts it, like our own services with a network.
EXPOSURE = 1.5


@pytest.fixture(scope="module")
def box(playbook: Playbook) -> Box:
    return playbook.box


@pytest.fixture(scope="module")
def person(box: Box) -> Lan:
    return lan.met(box.address)


def cookie_of(answer: lan.Answer) -> SimpleCookie:
    return SimpleCookie(answer.headers["set-cookie"] or "")


def sign_in(person: Lan, name: str = "admin", password: str = PASSWORD, **headers: str) -> lan.Answer:
    return person.ask("/sign-in", form={"name": name, "password": password}, headers=headers)


def held(person: Lan) -> str:
    """The header of whoever is signed in."""
    return f"{SESSION_COOKIE}={cookie_of(sign_in(person))[SESSION_COOKIE].value}"


def test_what_the_playbook_ends_with_lets_the_first_administrator_in(
    installed: Installed, playbook: Playbook, person: Lan
) -> None:
    assert f"{OWN}{SCREENS}/" in installed.first.out
    # Whoever is to trust the box compares the authority that it shows with the one that the playbook saw.
    shown = Lan(playbook.box.address).ask(lan.AUTHORITY)
    assert shown.headers["content-type"] == "application/x-x509-ca-cert"
    assert f"{OWN}{lan.AUTHORITY}, sha256 Fingerprint={lan.fingerprint(shown.text)}" in installed.first.out
    ran = playbook.run("--tags", "preflight")
    link = re.search(rf"{OWN}(/welcome/[\w-]+)", ran.out)
    assert link
    assert "password" in person.ask(link[1]).text
    chosen = person.ask(link[1], form={"new": PASSWORD, "again": PASSWORD})
    assert chosen.status == 303
    assert "/welcome/" not in playbook.run("--tags", "preflight").out


def test_the_session_of_one_sign_in_is_kept_off_scripts_and_plain_http(person: Lan) -> None:
    signed = sign_in(person)
    assert signed.status == 303
    cookie = cookie_of(signed)[SESSION_COOKIE]
    assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
    assert cookie["samesite"].lower() == "lax"
    who = person.ask("/whoami", headers={"Cookie": f"{SESSION_COOKIE}={cookie.value}", "Accept": "application/json"})
    assert (who.status, '"admin"' in who.text) == (200, True)
    assert person.ask("/whoami", headers={"Accept": "application/json"}).status == 401
    # A page from elsewhere cannot sign anybody in, or anything else.
    assert sign_in(person, Origin="https://elsewhere.test").status == 403


def test_screens_and_pages_answer_and_keep_others_out_of_their_frames(person: Lan) -> None:
    assert person.ask(f"{SCREENS}/_stcore/health").text == "ok"
    for path in (f"{SCREENS}/", f"{SCREENS}/alarms", "/sign-in", "/docs", lan.AUTHORITY):
        answer = person.ask(path)
        assert answer.status == 200, path
        assert answer.headers["server"] is None, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"], path
        assert answer.headers.get_all("x-frame-options") in (["SAMEORIGIN"], ["DENY"]), path
    policy = person.ask(f"{SCREENS}/").headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy
    assert "http:" not in policy.replace("https:", "")
    # Neither what lies beside the one file that is shown, nor where the proxy keeps its keys.
    for path in ("/root.key", "/public/", "/box-ca.crt/../appliance.conf", "/%2e%2e/appliance.conf"):
        assert person.ask(path).status in (401, 404), path


def test_a_page_stays_in_touch_with_its_own_screens_alone(person: Lan) -> None:
    cookie = held(person)
    assert person.upgrade(STREAM, OWN, cookie) == 101
    assert person.upgrade(STREAM, "https://elsewhere.test", cookie) == 403


def test_every_other_way_leads_to_the_one_address(box: Box, person: Lan) -> None:
    for name in (NAME, OTHER, box.address):
        answer = person.ask("/screens/alarms?alarm=1", name=name, plain=True)
        assert (answer.status, answer.headers["location"]) == (302, f"{OWN}/screens/alarms?alarm=1"), name
        assert answer.headers["server"] is None
    answer = person.ask("/account?x=1", name=OTHER)
    assert (answer.status, answer.headers["location"]) == (302, f"{OWN}/account?x=1")
    for path in ("/", SCREENS):
        answer = person.ask(path)
        assert (answer.status, answer.headers["location"]) == (302, f"{SCREENS}/")
    # Past the proxy there is no way: what serves screens and pages does not listen to the network.
    for port in (8501, 8080, 2019):
        with pytest.raises(OSError):  # noqa: PT011 - refused or timed out, it does not matter
            socket.create_connection((box.address, port), 3)


def test_guesses_are_counted_for_who_guesses(box: Box, person: Lan) -> None:
    """The API sees each person's own address, whatever somebody writes into a header."""
    tried = [sign_in(person, "nobody", "wrong", **{"X-Forwarded-For": f"192.0.2.{at}"}).status for at in range(12)]
    assert tried[0] == 401
    assert tried[-1] == 429
    inside = (
        f"curl --silent --output /dev/null --write-out '%{{http_code}}' --cacert /etc/caddy/public/box-ca.crt"
        f" --connect-to ::127.0.0.1:443 --header 'Origin: {OWN}' --data name=somebody --data password=wrong {OWN}/sign-in"
    )
    assert box.run(inside).out == "401"


def test_links_that_let_somebody_in_are_not_written_down(box: Box, person: Lan) -> None:
    """Neither while the API is there nor when it is away, which the proxy then says."""
    ways, secret = ("/welcome/hush-hush-1", "/enter/hush-hush-2"), {"Cookie": "hush=hush-hush-3"}
    for path in ways:
        assert person.ask(path, headers=secret).status == 404
    box.run("systemctl stop appliance-api.socket appliance-api")
    try:
        for path in ways:
            answer = person.ask(path, headers=secret)
            assert (answer.status, answer.headers["retry-after"]) == (502, "5")
            assert "does not answer" in answer.text
    finally:
        box.run("systemctl start appliance-api.socket appliance-api")
    said = box.run("journalctl --no-pager --all --merge --output=cat", seconds=120).out
    assert "Started caddy.service" in said
    assert "hush-hush" not in said
    made.back(box)


@pytest.mark.parametrize("unit", ["appliance-ui", "caddy"])
def test_what_serves_people_comes_back_when_it_was_killed(box: Box, person: Lan, unit: str) -> None:
    before = box.run(f"systemctl show --property MainPID --value {unit}").out.strip()
    box.run(f"systemctl kill --signal=KILL {unit}")

    def well() -> bool:
        try:
            return person.ask(f"{SCREENS}/_stcore/health").text == "ok"
        except OSError:
            return False

    host.wait_for(well, 120, f"{unit} is not back")
    assert box.run(f"systemctl show --property MainPID --value {unit}").out.strip() not in ("0", before)


def test_the_proxy_reaches_its_work_and_nothing_else(box: Box) -> None:
    said = box.run("systemd-analyze --no-pager security caddy.service").out
    exposure = re.search(r"Overall exposure level for caddy.service: ([0-9.]+)", said)
    assert exposure, said
    assert float(exposure[1]) <= EXPOSURE, said
    assert box.run("find /var/lib/caddy -name '*.key' -perm /077").out == ""
    assert box.run("find /var/lib/caddy -name '*.key'").out != ""
    inside = "nsenter --target $(systemctl show --property MainPID --value caddy) --mount --setgid 65534 --setuid $(id -u caddy)"
    for folder in ("/etc/appliance", "/var/lib/appliance", "/opt/appliance", "/home/admin", "/root"):
        assert box.run(f"{inside} ls {folder}", check=False).code != 0, folder
    for path in ("/etc/caddy/proof", "/var/proof", "/usr/proof"):
        assert box.run(f"{inside} touch {path}", check=False).code != 0, path


def test_the_screens_reach_the_api_and_nothing_else(box: Box) -> None:
    script = """
import socket
from pathlib import Path
def may(what, call):
    try:
        call()
    except OSError:
        return
    print(what)
for name in ("/var/lib/appliance/raw_data", "/etc/appliance/secrets", "/home/admin", "/var/lib/caddy/.local/share"):
    may(f"read {name}", lambda: list(Path(name).iterdir()))
may("settings", lambda: Path("/etc/appliance/appliance.toml").read_text())
may("write", lambda: Path("/opt/appliance/current/proof").write_text(""))
may("api", lambda: socket.socket(socket.AF_UNIX).connect("/run/appliance/api.sock"))
"""
    assert services.locked_in(box, "appliance-ui", script).splitlines() == ["settings", "api"]


def test_a_person_signs_in_with_a_browser_and_sees_the_plant(box: Box, tmp_path: Path) -> None:
    stage = pytest.importorskip("tests.ui.browser.stage")
    if stage.CHROMIUM is None:
        pytest.skip("There is no Chromium on this machine (Debian: apt-get install chromium).")
    from playwright.sync_api import expect, sync_playwright

    from ui import pages

    expect.set_options(timeout=stage.PAGE_SECONDS * 1000)
    arguments = [
        *stage.QUIET,
        f"--host-resolver-rules=MAP {NAME} {box.address}, MAP * ~NOTFOUND, EXCLUDE {box.address}",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(stage.CHROMIUM), args=arguments)
        # That the box's certificate is right is shown above; Chromium keeps whom it trusts in a store of its own.
        page = browser.new_context(ignore_https_errors=True, locale="en-GB").new_page()
        page.set_default_timeout(stage.PAGE_SECONDS * 1000)
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
        page.goto(f"{OWN}/")
        page.get_by_role("link", name=stage.named("Sign in")).click()
        page.get_by_label("Name").fill("admin")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        stage.settled(page)
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        expect(page.get_by_text("mill-1").first).to_be_visible()
        page.screenshot(path=tmp_path / "overview.png", full_page=True)
        assert page.url.startswith(f"{OWN}{SCREENS}")
        for entry in pages.ENTRIES:
            if entry.section:
                page.goto(f"{OWN}{SCREENS}/{entry.path}")
                stage.settled(page)
                expect(page.get_by_test_id("stException")).to_have_count(0)
        page.goto(f"{OWN}{SCREENS}/check-file")
        stage.settled(page)
        page.locator("input[type=file]").set_input_files(made.write(tmp_path, 91))
        page.get_by_role("button", name=stage.named("Look at it")).click()
        expect(page.get_by_role("button", name=stage.named("Remove it"))).to_be_visible()
        assert [text for text in told if "Content Security Policy" in text] == []
        browser.close()


def test_an_administrator_reaches_the_api_through_ssh_too(box: Box, tmp_path: Path) -> None:
    """The way to the pages of a box that has no screens, which its playbook names."""
    door = tmp_path / "api.sock"
    tunnel = ["ssh", *box.door.options, "-N", "-L", f"{door}:/run/appliance/api.sock", f"admin@{box.address}"]
    process = subprocess.Popen(tunnel, env=host.environment())
    try:
        host.wait_for(door.exists, 20, "there is no tunnel")
        asked = ["curl", "--silent", "--show-error", "--fail", "--unix-socket", door, "http://appliance/sign-in"]
        assert "Password" in subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30).stdout
    finally:
        process.terminate()
        process.wait()
