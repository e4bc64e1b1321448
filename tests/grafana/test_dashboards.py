"""The committed files are those that the code makes, and what they refer to is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana import files, parts, provisioning
from tests.grafana.expand import _VARIABLE

ROOT = Path("grafana")
DASHBOARDS = {one.uid: one.as_json() for one in files.DASHBOARDS}


def test_the_committed_files_are_those_that_the_code_makes() -> None:
    made = files.all_files()
    for name, content in made.items():
        assert (ROOT / name).read_text(encoding="utf-8") == content, f"{name} is old: make generate"
    committed = {
        str(path.relative_to(ROOT))
        for folder in ("dashboards", "provisioning")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    assert committed == set(made)


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_panels_have_numbers_of_their_own_lie_side_by_side_and_fill_their_rows(uid: str) -> None:
    panels = DASHBOARDS[uid]["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    height = max(y for _, y in taken) + 1
    assert taken == {(x, y) for x in range(parts.COLUMNS) for y in range(height)}


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_it_opens_with_the_question_that_it_answers(uid: str) -> None:
    dashboard = DASHBOARDS[uid]
    assert dashboard["description"].endswith("?")
    first = dashboard["panels"][0]
    assert dashboard["description"] in (first["title"], first.get("options", {}).get("content", "").removeprefix("## "))


def test_the_kiosk_fits_on_one_screen_without_scrolling() -> None:
    """1080 lines, 38 for each unit of height with its gap; the browser shows nothing but the page."""
    panels = DASHBOARDS["appliance-kiosk"]["panels"]
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * 38 <= 1080


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_variables_and_links_resolve(uid: str) -> None:
    dashboard = DASHBOARDS[uid]
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    used: set[str] = set()
    for text in _strings(dashboard):
        used |= {found[1] or found[2] for found in _VARIABLE.finditer(text)}
    used = {name for name in used if not name.startswith("__")}
    assert used == known
    for text in _strings(dashboard):
        if "/d/" in text:
            assert re.search(r"/d/([\w-]+)", text)[1] in DASHBOARDS  # type: ignore[index]


def test_uids_are_fixed_and_short_enough() -> None:
    assert len(DASHBOARDS) == len(files.DASHBOARDS)
    assert all(re.fullmatch(r"[a-z-]{1,40}", uid) for uid in DASHBOARDS)


def test_all_ask_the_one_data_source_and_the_views_alone() -> None:
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                assert target["datasource"] == panel["datasource"] == parts.DATASOURCE
                tables = re.findall(r"\b(?:FROM|JOIN)\s+([a-z_.]+)", target["rawSql"])
                assert all(name.startswith("report.") for name in tables if name != "arrived_at"), tables


def test_normal_is_grey_and_no_colour_stands_without_a_word() -> None:
    """Thresholds colour figures, which are their own words; mappings colour words."""
    for dashboard in DASHBOARDS.values():
        for text in _strings(dashboard):
            assert text.lower() not in ("green", "dark-green", "light-green", "super-light-green", "semi-dark-green")
    tiles = DASHBOARDS["appliance-kiosk"]["panels"][0]["fieldConfig"]["defaults"]
    patterns = {one["options"]["pattern"]: one["options"]["result"]["color"] for one in tiles["mappings"]}
    assert patterns["^normal"] == parts.GREY
    assert parts.GREY not in {color for pattern, color in patterns.items() if pattern != "^normal"}


def test_the_data_source_has_no_password_and_its_fields_are_those_documented() -> None:
    [source] = yaml.safe_load(provisioning.datasource())["datasources"]
    assert source["uid"] == parts.DATASOURCE["uid"]
    assert source["type"] == "grafana-postgresql-datasource"
    assert set(source) <= {
        "name", "uid", "type", "access", "orgId", "isDefault", "editable", "url", "user", "jsonData",
    }  # fmt: skip
    assert set(source["jsonData"]) <= {
        "database", "sslmode", "postgresVersion", "timescaledb", "maxOpenConns", "maxIdleConns", "connMaxLifetime",
    }  # fmt: skip


def test_the_provider_lets_nobody_change_what_stands_in_files() -> None:
    [provider] = yaml.safe_load(provisioning.dashboards())["providers"]
    assert set(provider) == {
        "name", "orgId", "folder", "folderUid", "type", "disableDeletion", "allowUiUpdates", "updateIntervalSeconds",
        "options",
    }  # fmt: skip
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    assert set(provider["options"]) == {"path", "foldersFromFilesStructure"}


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in _strings(one)]
    return [value] if isinstance(value, str) else []
