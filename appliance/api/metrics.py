"""What Prometheus may ask for. One registry an app, so that two apps in one process do not mix."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from appliance.vitals import Minute

MEDIA_TYPE = CONTENT_TYPE_LATEST

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters of this process and gauges of the last look at the backlog."""

    def __init__(self) -> None:
        self.minute = Minute()
        registry = self.registry = CollectorRegistry()
        self._requests = Counter(
            "appliance_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._latency = Histogram(
            "appliance_request_seconds", "Time to answer a request.", ["route"], buckets=_SECONDS, registry=registry
        )
        self._predictions = Counter(
            "appliance_predictions", "Rows predicted and stored.", ["profile", "source", "verdict"], registry=registry
        )
        self._refused_rows = Counter(
            "appliance_rows_refused", "Rows that broke the contract.", ["profile"], registry=registry
        )
        self._refused_files = Counter(
            "appliance_files_refused", "Files in requests that were refused as a whole.", ["reason"], registry=registry
        )
        self._refused_tokens = Counter("appliance_tokens_refused", "Requests with a wrong token.", registry=registry)
        self._refused_passwords = Counter(
            "appliance_passwords_refused", "Tries to sign in that were refused.", registry=registry
        )
        self._store_up = Gauge("appliance_store_up", "1 while the database answers.", registry=registry)
        self._backlog = Gauge("appliance_backlog", "What waits, by kind.", ["kind"], registry=registry)
        self._serving = Gauge(
            "appliance_model_serving", "1 for the version that serves.", ["profile", "version"], registry=registry
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._latency.labels(route).observe(seconds)
        # Whether we are alive is asked all the time, and costs nothing: it would hide what people wait for.
        if not route.startswith("/health/"):
            self.minute.request(status, seconds)

    def predicted(self, profile: str, source: str, rows: int, failing: int) -> None:
        self._predictions.labels(profile, source, "failing").inc(failing)
        self._predictions.labels(profile, source, "passing").inc(rows - failing)

    def refused_rows(self, profile: str, rows: int) -> None:
        self._refused_rows.labels(profile).inc(rows)

    def refused_file(self, reason: str) -> None:
        self._refused_files.labels(reason).inc()

    def refused_token(self) -> None:
        self._refused_tokens.inc()

    def refused_password(self) -> None:
        self._refused_passwords.inc()

    def serving(self, versions: Mapping[str, str]) -> None:
        """``versions`` by profile; what no longer serves disappears."""
        self._serving.clear()
        for profile, version in versions.items():
            self._serving.labels(profile, version).set(1)

    def backlog(self, waiting: Mapping[str, float] | None) -> None:
        """What waits, by kind; None where the database is away."""
        self._store_up.set(waiting is not None)
        self._backlog.clear()
        for kind, count in (waiting or {}).items():
            self._backlog.labels(kind).set(count)

    def text(self) -> bytes:
        return generate_latest(self.registry)
