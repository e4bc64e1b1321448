"""The pieces that dashboards are made of, as the dictionaries that Grafana reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]

DATASOURCE: Json = {"type": "grafana-postgresql-datasource", "uid": "appliance"}
# The form of dashboards that Grafana 7.5 to 13 reads; newer ones bring it to theirs by themselves.
SCHEMA_VERSION = 39
PLUGIN_VERSION = "12.0.0"
COLUMNS = 24

# Grey is normal. Colour is for what is not, and never alone: a word or a letter stands beside it.
GREY, YELLOW, ORANGE, RED, VIOLET, BLUE = "#6e7077", "#e0b400", "#ff780a", "#e02f44", "#8f3bb8", "#3274d9"


@dataclass(frozen=True)
class Dashboard:
    """``rows``: (height, panels); each panel is (width, panel), from left to right."""

    uid: str
    title: str
    question: str
    rows: Sequence[tuple[int, Sequence[tuple[int, Json]]]]
    variables: Sequence[Json] = ()
    annotations: Sequence[Json] = ()
    since: str = "now-24h"
    refresh: str = "1m"
    asks: bool = True  # the question stands on top as a line of its own
    tags: Sequence[str] = field(default=("appliance",))

    def as_json(self) -> Json:
        panels: list[Json] = []
        rows = list(self.rows)
        if self.asks:
            rows.insert(0, (2, [(COLUMNS, text(f"## {self.question}"))]))
        y = 0
        for height, across in rows:
            x = 0
            for width, panel in across:
                place = {"x": x, "y": y, "w": width, "h": height}
                panels.append({"id": len(panels) + 1, "gridPos": place, **panel})
                x += width
            y += height
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.question,
            "tags": list(self.tags),
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "timezone": "browser",
            "time": {"from": self.since, "to": "now"},
            "refresh": self.refresh,
            "fiscalYearStartMonth": 0,
            "weekStart": "",
            "links": [{**_LINKS, "title": "Dashboards"}],
            "templating": {"list": list(self.variables)},
            "annotations": {"list": list(self.annotations)},
            "panels": panels,
        }


_LINKS: Json = {
    "type": "dashboards",
    "tags": ["appliance"],
    "asDropdown": True,
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
    "icon": "external link",
    "tooltip": "",
    "url": "",
}


def text(markdown: str) -> Json:
    options = {"mode": "markdown", "content": markdown}
    return {"type": "text", "title": "", "transparent": True, "options": options, "pluginVersion": PLUGIN_VERSION}


def stat(
    title: str,
    sql: str,
    *,
    unit: str = "short",
    steps: Sequence[tuple[float | None, str]] = ((None, GREY),),
    missing: str = "unknown",
    words: bool = False,
    decimals: int | None = None,
    help_: str = "",
) -> Json:
    """One figure, large; of a query with several columns each is shown. ``words``: it is text."""
    defaults = _defaults(unit, steps, missing, decimals)
    options = {
        "colorMode": "background_solid",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "values": False, "fields": "/.*/" if words else ""},
    }
    return _panel("stat", title, [target(sql)], options, defaults, help_)


def tiles(title: str, sql: str, mappings: Sequence[tuple[str, str]], limit: int, help_: str = "") -> Json:
    """A tile a row: ``tile`` is its name, ``text`` what it says; ``mappings``: (regular expression, colour)."""
    defaults = _defaults("string", ((None, GREY),), "no machines yet", None)
    defaults["displayName"] = "${__data.fields.tile}"
    defaults["mappings"] = [
        {"type": "regex", "options": {"pattern": pattern, "result": {"color": color, "index": number}}}
        for number, (pattern, color) in enumerate(mappings)
    ]
    options = {
        "colorMode": "background_solid",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "textMode": "value_and_name",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "values": True, "fields": "/^text$/", "limit": limit},
    }
    return _panel("stat", title, [target(sql)], options, defaults, help_)


def series(
    title: str,
    *queries: str,
    unit: str = "short",
    bars: bool = False,
    stacked: bool = False,
    lines: Sequence[tuple[float | None, str]] = (),
    least: float | None = 0,
    most: float | None = None,
    help_: str = "",
) -> Json:
    """Curves over time. ``lines``: thresholds that are drawn."""
    defaults = _defaults(unit, lines or ((None, GREY),), "", None)
    defaults["color"] = {"mode": "palette-classic"}
    defaults["custom"] = {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "linear",
        "lineWidth": 0 if bars else 2,
        "fillOpacity": 80 if bars else 10,
        "showPoints": "never" if bars else "auto",
        "pointSize": 5,
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if lines else "off"},
        "axisPlacement": "auto",
    }
    if least is not None:
        defaults["min"] = least
    if most is not None:
        defaults["max"] = most
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    targets = [target(sql, "time_series", chr(ord("A") + number)) for number, sql in enumerate(queries)]
    return _panel("timeseries", title, targets, options, defaults, help_)


def bars(title: str, sql: str, *, x: str, unit: str = "short", sideways: bool = False, help_: str = "") -> Json:
    """A bar a row; ``x`` is the column with its name."""
    defaults = _defaults(unit, ((None, GREY),), "", None)
    defaults["color"] = {"mode": "palette-classic"}
    defaults["custom"] = {"fillOpacity": 80, "lineWidth": 0, "gradientMode": "none", "axisPlacement": "auto"}
    defaults["min"] = 0
    options = {
        "xField": x,
        "orientation": "horizontal" if sideways else "vertical",
        "barWidth": 0.9,
        "groupWidth": 0.8,
        "showValue": "auto",
        "stacking": "none",
        "xTickLabelRotation": 0,
        "xTickLabelMaxLength": 32,
        "xTickLabelSpacing": 0,
        "fullHighlight": False,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "none"},
    }
    return _panel("barchart", title, [target(sql)], options, defaults, help_)


def table(title: str, sql: str, columns: Mapping[str, Sequence[Json]] | None = None, help_: str = "") -> Json:
    """A table. ``columns``: properties of columns that are not plain text, by name."""
    defaults = _defaults("string", ((None, GREY),), "", None)
    defaults["custom"] = {"align": "auto", "cellOptions": {"type": "auto"}, "wrapText": True, "inspect": False}
    overrides = [
        {"matcher": {"id": "byName", "options": name}, "properties": list(properties)}
        for name, properties in (columns or {}).items()
    ]
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "frameIndex": 0,
        "sortBy": [],
    }
    return _panel("table", title, [target(sql)], options, defaults, help_, overrides)


def unit(name: str, decimals: int | None = None) -> list[Json]:
    found: list[Json] = [{"id": "unit", "value": name}]
    return found if decimals is None else [*found, {"id": "decimals", "value": decimals}]


def colored(words: Mapping[str, str]) -> list[Json]:
    """The cell takes the colour of its word."""
    options = {word: {"color": color, "index": number} for number, (word, color) in enumerate(words.items())}
    return [
        {"id": "mappings", "value": [{"type": "value", "options": options}]},
        {"id": "custom.cellOptions", "value": {"type": "color-background", "mode": "basic"}},
    ]


def link(title: str, url: str) -> list[Json]:
    return [{"id": "links", "value": [{"title": title, "url": url, "targetBlank": True}]}]


def target(sql: str, format_: Literal["table", "time_series"] = "table", ref: str = "A") -> Json:
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "format": format_,
        "rawQuery": True,
        "editorMode": "code",
        "rawSql": " ".join(sql.split()),
    }


def variable(name: str, label: str, sql: str, all_: str) -> Json:
    """Several may be chosen. ``all_`` stands for all of them, also where there is none yet: a query that gives them."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": " ".join(sql.split()),
        "definition": " ".join(sql.split()),
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": all_,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "regex": "",
        "sort": 0,
        "hide": 0,
        "skipUrlSync": False,
    }


def choice(name: str, label: str, values: Sequence[str]) -> Json:
    options = [{"selected": False, "text": value, "value": value} for value in values]
    return {
        "name": name,
        "label": label,
        "type": "custom",
        "query": ",".join(values),
        "multi": True,
        "includeAll": True,
        "allValue": ", ".join(f"'{value}'" for value in values),
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [{"selected": True, "text": "All", "value": "$__all"}, *options],
        "hide": 0,
        "skipUrlSync": False,
    }


def constant(name: str, label: str, value: str) -> Json:
    """A text that whoever sets Grafana up may change in the URL (``?var-NAME=``) or in the file."""
    return {
        "name": name,
        "label": label,
        "type": "textbox",
        "query": value,
        "current": {"selected": True, "text": value, "value": value},
        "options": [{"selected": True, "text": value, "value": value}],
        "hide": 2,
        "skipUrlSync": False,
    }


def annotation(name: str, color: str, sql: str) -> Json:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "target": {
            "refId": "Anno",
            "datasource": DATASOURCE,
            "format": "table",
            "rawQuery": True,
            "editorMode": "code",
            "rawSql": " ".join(sql.split()),
        },
    }


PROFILE = variable(
    "profile", "Profile", "SELECT profile FROM report.profile ORDER BY 1", "SELECT profile FROM report.profile"
)
MACHINE = variable(
    "machine",
    "Machine",
    "SELECT machine FROM report.machine WHERE profile IN ($profile) ORDER BY 1",
    "SELECT machine FROM report.machine",
)
MODEL = variable(
    "model",
    "Model version",
    "SELECT model_version FROM report.model WHERE profile IN ($profile) ORDER BY installed_at DESC",
    "SELECT model_version FROM report.model",
)
SOURCE = choice("source", "Source", ("scheduled", "api", "webapp"))
SCREENS = constant("screens", "Address of the screens", "http://localhost:8501")


def _defaults(unit: str, steps: Sequence[tuple[float | None, str]], missing: str, decimals: int | None) -> Json:
    found: Json = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]},
        "mappings": [],
    }
    if missing:
        found["noValue"] = missing
    if decimals is not None:
        found["decimals"] = decimals
    return found


def _panel(
    type_: str,
    title: str,
    targets: Sequence[Json],
    options: Json,
    defaults: Json,
    help_: str,
    overrides: Sequence[Json] = (),
) -> Json:
    return {
        "type": type_,
        "title": title,
        "description": help_,
        "transparent": False,
        "datasource": DATASOURCE,
        "targets": list(targets),
        "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "pluginVersion": PLUGIN_VERSION,
    }
