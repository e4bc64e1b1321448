"""All of it in a Grafana that runs: what it loaded, what each panel is answered, what it thinks of the rules, how it looks.

The server is the one behind ``GRAFANA_URL``, set up as docs/grafana.md says, on the database of a box or of the demo;
``GRAFANA_LOGIN`` is ``user:password`` or a token, for what viewers may not see; pictures go to ``GRAFANA_PICTURES``. On
machines without one the same questions go to the stand-in, which shows that they are the right ones, and nothing more.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.drill_grafana import Grafana
from grafana import contact, files
from grafana.alerts import RULES
from tests.grafana.conftest import Looked
from tests.grafana.expand import variables
from tests.grafana.standin import StandIn, standing_in
from tests.grafana.test_sql import ALL, everything
from tests.ui.browser.stage import CHROMIUM

URL, LOGIN = os.environ.get("GRAFANA_URL", ""), os.environ.get("GRAFANA_LOGIN", "")
DASHBOARDS = {one.uid: one.as_json() for one in files.DASHBOARDS}
WHY = "GRAFANA_URL is not set: the dashboards were not seen in a Grafana."


@dataclass(frozen=True)
class Server:
    url: str
    login: str
    http: httpx.Client
    is_grafana: bool

    def get(self, path: str) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()

    def query(self, sql: str, form: str) -> httpx.Response:
        """As a panel asks for the last day."""
        now = int(time.time() * 1000)
        query = {
            "refId": "A",
            "datasource": {"type": "grafana-postgresql-datasource", "uid": "appliance"},
            "rawSql": sql,
            "rawQuery": True,
            "format": form,
            "intervalMs": 60_000,
            "maxDataPoints": 800,
        }
        return self.http.post("/api/ds/query", json={"from": str(now - 86_400_000), "to": str(now), "queries": [query]})


def _headers(login: str) -> dict[str, str]:
    if ":" in login:
        return {"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return {"authorization": f"Bearer {login}"} if login else {}


@pytest.fixture(scope="module", params=["stand-in", "grafana"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "grafana":
        if not URL:
            pytest.skip(WHY)
        with httpx.Client(base_url=URL, headers=_headers(LOGIN), timeout=30, trust_env=False) as http:
            yield Server(URL.rstrip("/"), LOGIN, http, True)
        return
    hour: Looked = request.getfixturevalue("hour")
    given = {"APPLIANCE_GRAFANA_ALERTS_URL": "http://127.0.0.1:9/alerts", "APPLIANCE_GRAFANA_ALERTS_TOKEN": "fa_x"}
    with standing_in(StandIn(hour.session.dsn, given), rounds=False) as found, httpx.Client(base_url=found.url) as http:
        found.look()
        yield Server(found.url, "", http, False)


@pytest.fixture(scope="module")
def live() -> Server:
    if not URL:
        pytest.skip(WHY)
    return Server(URL.rstrip("/"), LOGIN, httpx.Client(base_url=URL, headers=_headers(LOGIN), trust_env=False), True)


def test_it_is_a_version_that_all_this_was_made_for(server: Server) -> None:
    assert Grafana(server.url, server.login).version()


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_it_loaded_every_dashboard_as_it_stands_in_its_file(server: Server, uid: str) -> None:
    found = server.get(f"/api/dashboards/uid/{uid}")
    assert found["meta"]["provisioned"]
    assert found["meta"]["folderTitle"] == "Appliance"
    dashboard = found["dashboard"]
    assert dashboard["title"] == DASHBOARDS[uid]["title"]
    assert [one["title"] for one in dashboard["panels"]] == [one["title"] for one in DASHBOARDS[uid]["panels"]]


def test_it_reaches_the_database(server: Server) -> None:
    assert server.get("/api/datasources/uid/appliance/health")["status"] == "OK"


@pytest.mark.parametrize(("where", "target", "uid"), ALL, ids=[where for where, _, _ in ALL])
def test_each_statement_is_answered(server: Server, where: str, target: Mapping[str, Any], uid: str) -> None:
    form = target["format"] if target["format"] in ("table", "time_series") else "table"
    answer = server.query(variables(target["rawSql"], everything(uid)), form)
    assert answer.status_code == 200, answer.text[:500]
    result = answer.json()["results"]["A"]
    assert not result.get("error"), result
    assert result["frames"], "not even the names of columns"


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE public.of_a_viewer (a int)",
        "DELETE FROM public.prediction",
        "SELECT * FROM public.token",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_who_looks_can_do_nothing_else(server: Server, sql: str) -> None:
    answer = server.query(sql, "table")
    said = answer.text
    assert answer.status_code >= 400 or answer.json()["results"]["A"].get("error"), said
    assert "permission denied" in said or "read-only" in said, said


def test_it_has_every_rule_and_is_content_with_it(server: Server) -> None:
    groups = server.get("/api/prometheus/grafana/api/v1/rules")["data"]["groups"]
    rules = {rule["labels"]["rule"]: rule for group in groups for rule in group["rules"] if "rule" in rule["labels"]}
    assert set(rules) == {rule.uid for rule in RULES}
    for uid, rule in rules.items():
        assert rule["health"] in ("ok", "unknown", "nodata"), (uid, rule.get("lastError"))
        assert not rule.get("lastError"), (uid, rule["lastError"])
    assert set(Grafana(server.url, server.login).states()) == set(rules)


def test_its_contact_point_leads_to_the_appliance(server: Server) -> None:
    if server.is_grafana and not server.login:
        pytest.skip("GRAFANA_LOGIN is not set: viewers do not see contact points.")
    points = [one for one in server.get("/api/v1/provisioning/contact-points") if one["name"] == contact.NAME]
    assert [one["type"] for one in points] == ["webhook"]
    assert points[0]["settings"]["url"].endswith("/alerts")


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_it_is_drawn_without_an_error(live: Server, uid: str, tmp_path: Path) -> None:
    """A picture of each is left for whoever wants to look."""
    if CHROMIUM is None:
        pytest.skip("There is no Chromium on this machine (Debian: apt-get install chromium).")
    from playwright.sync_api import sync_playwright

    folder = Path(os.environ.get("GRAFANA_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        try:
            size = {"width": 1920, "height": 1080}
            window = browser.new_context(viewport=size, extra_http_headers=_headers(live.login))  # type: ignore[arg-type]
            page = window.new_page()
            fitted = "&autofitpanels" if uid == "appliance-kiosk" else ""
            page.goto(f"{live.url}/d/{uid}?kiosk{fitted}", wait_until="domcontentloaded")
            titles = [panel["title"] for panel in DASHBOARDS[uid]["panels"] if panel["title"]]
            page.get_by_text(titles[0], exact=True).first.wait_for(timeout=60_000)
            page.wait_for_load_state("networkidle", timeout=60_000)
            page.wait_for_timeout(1_500)
            page.screenshot(path=folder / f"{uid}.png", full_page=True)
            broken = page.locator('[data-testid="data-testid Panel status error"], [aria-label="Panel status error"]')
            assert broken.count() == 0, broken.first.inner_text()
            if uid == "appliance-kiosk":
                room = page.evaluate("() => [document.documentElement.scrollHeight, window.innerHeight]")
                assert room[0] <= room[1], "it has to be scrolled"
        finally:
            browser.close()
