"""A stand-in for Grafana, which is not on every machine: it reads our provisioning files, asks our rules' statements,
waits as they say, sends the webhook and answers the addresses that we use, in the form that Grafana documents.

What it proves is our side alone. Whether Grafana does the same is for ``test_live.py`` with a Grafana behind GRAFANA_URL.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psycopg2
import yaml

from grafana import files
from tests.grafana.expand import expand

VERSION = "13.2.3"
_NUMBER = {"s": 1, "m": 60, "h": 3600}


def interpolated(value: Any, environment: Mapping[str, str]) -> Any:
    """As provisioning does it with contact points: names in braces first, then files that they name."""
    if isinstance(value, dict):
        return {name: interpolated(one, environment) for name, one in value.items()}
    if isinstance(value, list):
        return [interpolated(one, environment) for one in value]
    if not isinstance(value, str):
        return value
    said = re.sub(r"\$\{([^}]+)\}", lambda found: environment.get(found[1], ""), value)
    return re.sub(r"\$__file\{([^}]+)\}", lambda found: Path(found[1]).read_text().strip(), said)


@dataclass
class Curve:
    labels: dict[str, str]
    since: datetime
    fires: bool = False
    told: bool = False


@dataclass
class StandIn:
    """``faster``: so many times as fast as the rules say."""

    reader_dsn: str
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    faster: float = 600.0
    version: str = VERSION
    password: str | None = None
    url: str = ""
    sent: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    curves: dict[tuple[str, str], Curve] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        made = files.all_files()
        self.dashboards = {
            one["uid"]: one
            for name, text in made.items()
            if name.startswith("dashboards/")
            for one in [json.loads(text)]
        }
        self.rules = yaml.safe_load(made["provisioning/alerting/appliance.yaml"])["groups"][0]["rules"]
        points = yaml.safe_load(made["provisioning/alerting/appliance-contact.yaml"])["contactPoints"]
        self.points = {one["name"]: interpolated(one["receivers"], self.environment) for one in points}

    def rows(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        with psycopg2.connect(self.reader_dsn) as session, session.cursor() as cursor:
            cursor.execute(sql)
            found = [column.name for column in cursor.description or ()], cursor.fetchall()
        session.close()
        return found

    def look(self) -> None:
        """One round: what is beyond its bound, since when, and whom to tell."""
        now = datetime.now(UTC)
        with self._lock:
            for rule in self.rules:
                self._rule(rule, now)

    def _rule(self, rule: Mapping[str, Any], now: datetime) -> None:
        query, _, threshold = (one["model"] for one in rule["data"])
        names, rows = self.rows(expand(query["rawSql"], now - timedelta(hours=1), now, {}))
        evaluator = threshold["conditions"][0]["evaluator"]
        bound = evaluator["params"][0]
        newest: dict[str, tuple[dict[str, str], float]] = {}
        for row in rows:
            labels = dict(zip(names[1:-1], row[1:-1], strict=True))
            if row[-1] is not None:
                newest[json.dumps(labels)] = labels, float(row[-1])
        beyond = {
            key: labels
            for key, (labels, value) in newest.items()
            if (value > bound if evaluator["type"] == "gt" else value < bound)
        }
        for key, labels in beyond.items():
            curve = self.curves.setdefault((rule["uid"], key), Curve(labels, now))
            lasting = int(rule["for"][:-1]) * _NUMBER[rule["for"][-1]] / self.faster
            curve.fires = curve.fires or (now - curve.since).total_seconds() >= lasting
            if curve.fires and not curve.told:
                curve.told = self._tell(rule, curve, "firing")
        for uid, key in [name for name in self.curves if name[0] == rule["uid"] and name[1] not in beyond]:
            curve = self.curves.pop((uid, key))
            if curve.told:
                self._tell(rule, curve, "resolved")

    def _labels(self, rule: Mapping[str, Any], curve: Curve) -> dict[str, str]:
        return {"alertname": rule["title"], "grafana_folder": "Appliance", **rule["labels"], **curve.labels}

    def _tell(self, rule: Mapping[str, Any], curve: Curve, status: str) -> bool:
        labels = self._labels(rule, curve)
        notes = {
            name: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: curve.labels.get(found[1], "<no value>"), text)
            for name, text in rule["annotations"].items()
        }
        [receiver] = self.points[rule["notification_settings"]["receiver"]]
        body = {
            "receiver": rule["notification_settings"]["receiver"],
            "status": status,
            "orgId": 1,
            "alerts": [
                {
                    "status": status,
                    "labels": labels,
                    "annotations": notes,
                    "startsAt": curve.since.isoformat(),
                    "endsAt": "0001-01-01T00:00:00Z",
                    "generatorURL": f"{self.url}/alerting/grafana/{rule['uid']}/view",
                    "fingerprint": hashlib.md5(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16],
                    "values": {"B": 1, "C": 1},
                    "valueString": "[ var='B' ]",
                }
            ],
            "groupLabels": {"alertname": rule["title"]},
            "commonLabels": labels,
            "commonAnnotations": notes,
            "externalURL": f"{self.url}/",
            "version": "1",
            "groupKey": "{}",
            "truncatedAlerts": 0,
            "title": "[FIRING:1]",
            "state": "alerting",
            "message": "",
        }
        settings = receiver["settings"]
        login = f"{settings['authorization_scheme']} {settings['authorization_credentials']}"
        headers = {"content-type": "application/json", "authorization": login}
        request = Request(settings["url"], json.dumps(body).encode(), headers, method=settings["httpMethod"])
        try:
            with urlopen(request, timeout=10) as answer:
                self.sent.append((answer.status, body))
        except OSError as error:
            self.sent.append((getattr(error, "code", 0), body))
            return False
        return True

    def answer(self, method: str, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        path = path.partition("?")[0]
        if path == "/api/health":
            return 200, {"commit": "stand-in", "database": "ok", "version": self.version}
        if path == "/api/search":
            return 200, [{"uid": uid, "title": one["title"], "type": "dash-db"} for uid, one in self.dashboards.items()]
        if path.startswith("/api/dashboards/uid/") and path.rpartition("/")[2] in self.dashboards:
            meta = {"provisioned": True, "folderTitle": "Appliance", "canSave": False}
            return 200, {"meta": meta, "dashboard": self.dashboards[path.rpartition("/")[2]]}
        if path == "/api/datasources/uid/appliance/health":
            return 200, {"status": "OK", "message": "Database Connection OK"}
        if path == "/api/prometheus/grafana/api/v1/rules":
            return 200, {"status": "success", "data": {"groups": [self._group()]}}
        if path == "/api/v1/provisioning/contact-points":
            return 200, [{**one, "name": name} for name, all_ in self.points.items() for one in all_]
        if path == "/api/ds/query" and method == "POST":
            return self._query(body)
        return 404, {"message": "Not found"}

    def _group(self) -> dict[str, Any]:
        rules = []
        with self._lock:
            for rule in self.rules:
                mine = [curve for (uid, _), curve in self.curves.items() if uid == rule["uid"]]
                alerts = [
                    {
                        "labels": self._labels(rule, curve),
                        "annotations": {},
                        "state": "Alerting" if curve.fires else "Pending",
                        "activeAt": curve.since.isoformat(),
                        "value": "1",
                    }
                    for curve in mine
                ]
                state = "firing" if any(c.fires for c in mine) else "pending" if mine else "inactive"
                rules.append(
                    {
                        "state": state, "name": rule["title"], "uid": rule["uid"], "labels": rule["labels"], "health": "ok",
                        "lastError": "", "type": "alerting", "alerts": alerts,
                    }
                )  # fmt: skip
        return {"name": "appliance", "file": "Appliance", "folderUid": "appliance", "interval": 60, "rules": rules}

    def _query(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        since, until = (datetime.fromtimestamp(int(body[name]) / 1000, UTC) for name in ("from", "to"))
        results = {}
        for query in body["queries"]:
            try:
                names, rows = self.rows(expand(query["rawSql"], since, until, {}))
            except psycopg2.Error as error:
                results[query["refId"]] = {"error": str(error), "status": 400, "frames": []}
                continue
            frame = {
                "schema": {"refId": query["refId"], "fields": [{"name": name} for name in names]},
                "data": {"values": [[str(row[place]) for row in rows] for place in range(len(names))]},
            }
            results[query["refId"]] = {"status": 200, "frames": [frame]}
        return (400 if any("error" in one for one in results.values()) else 200), {"results": results}

    def rounds(self) -> None:
        while not self._stop.wait(0.2):
            try:
                self.look()
            except psycopg2.Error:
                time.sleep(0.2)


@contextmanager
def standing_in(grafana: StandIn, *, rounds: bool = True) -> Iterator[StandIn]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            allowed = grafana.password is None or self.path == "/api/health"
            allowed = allowed or self.headers.get("authorization") == grafana.password
            status, answer = grafana.answer(self.command, self.path, body) if allowed else (401, {"message": "no"})
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    grafana.url = f"http://127.0.0.1:{server.server_address[1]}"
    threads = [threading.Thread(target=server.serve_forever)]
    if rounds:
        threads.append(threading.Thread(target=grafana.rounds))
    for thread in threads:
        thread.start()
    try:
        yield grafana
    finally:
        grafana._stop.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()
