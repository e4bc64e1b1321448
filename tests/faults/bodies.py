"""What the killed processes do: the product's own code, as its commands and the API's routes call it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from appliance import backup as backing
from appliance import backup_drill, bundle, demo_rows, outbox, pipeline, signing
from appliance import restore as restoring
from appliance.api import schema
from appliance.api.auth import Principal
from appliance.api.state import Api
from appliance.api.submit import submit
from appliance.api.wire import Ask
from appliance.predict import predict_part
from appliance.serving import Models
from appliance.settings import Settings
from appliance.store import engine, parts


def ingest(settings: Settings) -> dict[str, Any]:
    """`appliance ingest`."""
    return pipeline.ingest(pipeline.open_box(settings)).as_dict()


def predict(settings: Settings) -> dict[str, Any]:
    """What the API does for `appliance predict`: each waiting part in a transaction of its own."""
    return _predict(_api(settings), lambda kind, **said: None)


def _api(settings: Settings) -> Api:
    api = Api(settings, engine.connect(settings.require_dsn(), "faults"), Models(settings))
    api.models.refresh()
    return api


def _predict(api: Api, tell: Callable[..., None]) -> dict[str, Any]:
    with api.transaction() as connection:
        waiting = parts.waiting_parts(connection, 100)
    rows = 0
    for part in waiting:
        with api.transaction() as connection:
            done = predict_part(connection, api.models, part.id, api.settings, api.ahead)
        rows += done.rows
        tell("part", id=part.id, rows=done.rows)
    return {"parts": len(waiting), "rows": rows}


def ingest_and_predict(settings: Settings) -> dict[str, Any]:
    """Both, one after the other: what the schedule does after a power cut."""
    return ingest(settings) | predict(settings)


def shift(settings: Settings, told: str, source: str, version: str, synced: bool) -> dict[str, Any]:
    """A pass, the predictions after it, a new model, and a person who checks a row in between; ``told`` is a file on
    another drive that gets a line for all that somebody was told is stored. Not ``synced``: we make nothing durable."""
    if not synced:
        setattr(os, "fsync", lambda descriptor: None)  # noqa: B010
    with Path(told).open("a", encoding="utf-8") as file:

        def tell(kind: str, **said: Any) -> None:
            file.write(json.dumps({"kind": kind, **said}) + "\n")
            file.flush()

        api = _api(settings)
        _check(api, tell)
        tell("ingested", **ingest(settings))
        _check(api, tell)
        done = _predict(api, tell)
        install(settings, source)
        activate(settings, version)
        tell("active", version=version)
        _check(api, tell)
    return done


def _check(api: Api, tell: Callable[..., None]) -> None:
    """A prediction over HTTP, without the HTTP."""
    (profile,) = [served.profile for served in api.models.all() if served.profile.name == "milling"]
    body = json.dumps({"rows": [schema.example_row(profile)]}).encode()
    who = Principal(1, "kim", "operator", "webapp", None, "user")
    answer = json.loads(submit(api, who, Ask("milling", None, None, "json", "json", None, ""), body).content)
    (one,) = answer["predictions"]
    tell("checked", id=one["id"], probability=one["probability"])


def remove_demo_rows(settings: Settings) -> dict[str, Any]:
    """`appliance demo-rows remove`."""
    return demo_rows.remove(pipeline.open_box(settings)).as_dict()


def sync(settings: Settings) -> dict[str, Any]:
    """`appliance sync --once`."""
    return outbox.once(pipeline.open_box(settings), flush=True).as_dict()


def backup(settings: Settings) -> dict[str, Any]:
    """`appliance backup`."""
    return backing.once(pipeline.open_box(settings)).as_dict()


def drill(settings: Settings) -> dict[str, Any]:
    """`appliance backup drill`."""
    return backup_drill.once(pipeline.open_box(settings)).as_dict()


def restore(settings: Settings, name: str) -> dict[str, Any]:
    """`appliance restore NAME`."""
    done = restoring.run(settings, name)
    return {"name": done.name, "finished": done.finished}


def nothing(settings: Settings) -> dict[str, Any]:
    """Tries out whether a child can be traced."""
    return {}


def scribble(settings: Settings, threads: int) -> dict[str, Any]:
    """Make, write and rename a file in each of some threads: what the tracer itself is tested with."""

    def work(number: int) -> None:
        file = settings.data_dir / f"{number}.new"
        file.write_text("x")
        file.rename(file.with_suffix(".txt"))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return {}


def sync_twice(settings: Settings) -> dict[str, Any]:
    """What nobody should do: where a sync fails, sync again and take it for good. What is in the file then?"""
    file = settings.data_dir / "file"
    with file.open("wb", buffering=0) as new:
        new.write(b"x" * 100)
        try:
            os.fsync(new.fileno())
        except OSError:
            os.fsync(new.fileno())
    return {"content": file.read_text()}


def install(settings: Settings, source: str) -> dict[str, Any]:
    """`appliance model install`."""
    return {"version": bundle.install(Path(source), settings.models, signing.trusted_keys(settings.keys)).version}


def activate(settings: Settings, version: str) -> dict[str, Any]:
    """`appliance model activate`."""
    keys = signing.trusted_keys(settings.keys)
    return {"version": bundle.activate(settings.models, "milling", version, keys).version}


def rollback(settings: Settings) -> dict[str, Any]:
    """`appliance model rollback`."""
    return {"version": bundle.rollback(settings.models, "milling", signing.trusted_keys(settings.keys)).version}
