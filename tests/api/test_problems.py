"""One shape for every error, whoever raises it: every route is tried."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from appliance.api.html import Page
from appliance.api.problems import TITLES
from tests.api.conftest import People, browser, running

OPEN = {"/health/live", "/health/ready", "/docs"}
MEMBERS = {"type", "title", "status", "detail", "code", "way_out", "instance"}


def routes(app: FastAPI) -> Iterator[tuple[str, str, APIRoute]]:
    # Pages for people answer in pages; test_signin.py has them.
    found = [route for route in app.routes if isinstance(route, APIRoute) and not isinstance(route, Page)]
    assert len(found) > 20
    for route in found:
        for method in route.methods:
            yield method, re.sub(r"\{[^}]+\}", "1", route.path), route


def assert_problem(response: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem.keys() >= MEMBERS
    assert problem["status"] == status
    assert problem["code"].partition(".")[0] in TITLES
    assert problem["detail"].endswith((".", "?"))
    assert problem["instance"] == response.url.path
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
    assert "server" not in response.headers
    assert "Traceback" not in response.text
    if code is not None:
        assert problem["code"] == code
    return problem


def test_every_route_but_three_needs_a_token(still: People) -> None:
    app, nobody = still.app, still.nobody
    for method, path, route in routes(app):
        if route.path in OPEN:
            assert nobody.request(method, path).status_code in (200, 503)
            continue
        response = nobody.request(method, path)
        assert_problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"].startswith("Bearer")


def test_no_route_takes_a_parameter_it_does_not_know(still: People) -> None:
    admin = still("admin")
    for method, path, _ in routes(still.app):
        problem = assert_problem(admin.request(method, path, params={"machin": "1"}), 400, "request")
        assert "'machin'" in problem["detail"]
    assert "Did you mean 'machine'" in admin.get("/predictions", params={"machin": "1"}).json()["way_out"]
    assert_problem(admin.get("/predictions?machine=a&machine=b"), 400, "request")


def test_what_is_not_there_is_a_problem_too(still: People) -> None:
    app, admin = still.app, still("admin")
    assert_problem(admin.get("/nowhere"), 404, "not_found")
    assert_problem(admin.get("/files/"), 404, "not_found")
    for method, path, route in routes(app):
        if "{" in route.path and method == "GET":
            number = path.replace("/1", "/987654321")
            assert_problem(admin.get(number), 404, "not_found")
            if "_id}" in route.path:
                for wrong in ("x", "0", "-1", "99999999999999999999", "1.5"):
                    assert_problem(admin.get(path.replace("/1", f"/{wrong}")), 400, "request")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_refused_on_every_route(still: People, method: str) -> None:
    admin = still("admin")
    offered = {(own, path) for own, path, _ in routes(still.app)}
    for path in {path for _, path in offered if (method, path) not in offered}:
        response = admin.request(method, path)
        assert_problem(response, 405, "method_not_allowed")
        assert response.headers["allow"]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "many"},
        {"source": "me"},
        {"verdict": "maybe"},
        {"min_probability": "nan"},
        {"min_probability": "1.5"},
        {"machine": "a\0b"},
        {"profile": "x" * 201},
        {"from": "yesterday"},
        {"from": "0001-01-01T00:00:00+14:00"},
        {"from": "2026-03-02", "to": "2026-03-01"},
        {"cursor": "%%%"},
        {"cursor": "aWQ6LTE"},
        {"cursor": "aWQ6OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"},
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(still: People, query: dict[str, str]) -> None:
    problem = assert_problem(still("viewer").get("/predictions", params=query), 400, "request")
    assert problem["way_out"]


def test_roles_are_ranked_on_every_route(still: People) -> None:
    app, people = still.app, still
    needed = {"/predict": "operator", "/models/{version}/activate": "engineer", "/alarms/{alarm_id}/ack": "operator"}
    seen = set()
    for method, path, route in routes(app):
        if method == "POST" and route.path != "/explain":  # which stores nothing
            response = people("viewer").request(method, path)
            problem = assert_problem(response, 403, "forbidden")
            if route.path in needed:
                seen.add(route.path)
                assert needed[route.path] in problem["detail"]
    assert seen == set(needed)
    assert_problem(people("operator").post("/models/rollback?profile=milling"), 403, "forbidden")
    assert_problem(people("operator").post("/parts/1/predict"), 403, "forbidden")
    assert_problem(people("operator", "scheduled").post("/parts/1/predict"), 404, "not_found")
    assert_problem(people("admin").post("/parts/1/predict"), 404, "not_found")


def test_an_error_that_nobody_foresaw_tells_an_id_and_no_more(
    app: FastAPI, token: Callable[..., str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("a secret of the inside")

    with running(app, tmp_path / "broken.sock") as address, browser(address, token("viewer")) as client:
        response = client.get("/broken")
        problem = assert_problem(response, 500, "internal")
        assert "secret" not in response.text
        assert client.get("/health/live").status_code == 200
    logged = [record for record in caplog.records if problem["id"] in record.getMessage() and record.exc_info]
    assert len(logged) == 1


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "The disk is full."), (errno.EIO, "The box could not read or write its disk.")],
)
def test_a_disk_that_fails_is_told_without_the_paths_of_the_box(
    app: FastAPI, token: Callable[..., str], tmp_path: Path, number: int, said: str
) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise OSError(number, os.strerror(number), "/secret/place")

    with running(app, tmp_path / "broken.sock") as address, browser(address, token("viewer")) as client:
        problem = assert_problem(client.get("/broken"), 500, "disk")
    assert problem["detail"] == said
    assert problem["id"]
    assert "secret" not in str(problem)


def test_guessing_is_slowed_down_and_who_has_a_token_gets_in(people: People) -> None:
    nobody, viewer = people.nobody, people("viewer")
    wrong = {"authorization": "Bearer fa_guess"}
    for _ in range(3):
        assert_problem(nobody.get("/files", headers=wrong), 401, "unauthorized")
    response = nobody.get("/files", headers=wrong)
    assert_problem(response, 429, "too_many_requests")
    assert 0 < int(response.headers["retry-after"]) <= 60
    assert viewer.get("/files").status_code == 200
    for odd in ("Basic YTpi", "Bearer", "fa_guess"):
        assert_problem(nobody.get("/files", headers={"authorization": odd}), 401, "unauthorized")
