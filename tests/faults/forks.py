"""The process that forks: it has everything imported, runs nothing itself, and traces its one child at a time.

Importing takes seconds and forking milliseconds; but a fork carries no threads along, so whoever forks must never have
used those of Polars or ONNX Runtime. Orders come in as lines of JSON, answers go out so.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
from types import FrameType
from typing import Any, TextIO

from appliance import trouble
from appliance.errors import ApplianceError
from appliance.settings import Settings
from tests.faults import bodies, failing, tracer
from tests.faults.calls import Call
from tests.sync import quick

_PR_SET_PDEATHSIG = 1
# What the product would otherwise import, and compile, in each child anew.
_LAZY = ("boto3", "numpy.ma", "polars._utils.parquet", "psycopg2.extras", "sqlalchemy.dialects.postgresql.psycopg2")


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGALRM, _too_long)
    for name in _LAZY:
        importlib.import_module(name)
    quick.clients()
    # Nothing of this is garbage; looking for some in each child would copy all pages of this process.
    gc.collect()
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    # Children must not talk into the answers; what they print goes to the log.
    os.dup2(2, 1)
    for line in sys.stdin:
        _tell(answers, _obey(json.loads(line), answers))


def _obey(order: dict[str, Any], answers: TextIO) -> dict[str, Any]:
    back, out = os.pipe()

    def body() -> None:
        os.write(out, json.dumps(_result(order)).encode())

    def at_stop(call: Call) -> int | None:
        if not order["hold"]:
            return None if order["error"] is None else failing.error_of(call, order["error"])
        _tell(answers, {"held": [call.name, call.subject]})
        return 0 if sys.stdin.readline().strip() == "go" else None

    try:
        ended = tracer.run(body, order["at"], at_stop)
    except (TimeoutError, OSError) as error:
        return {"trouble": f"{type(error).__name__}: {error}"}
    finally:
        os.close(out)
        with os.fdopen(back, "rb") as pipe:
            said = pipe.read()
    return {
        "code": ended.code,
        "killed_by": ended.killed_by and [ended.killed_by.name, ended.killed_by.subject],
        "failed": ended.failed and [ended.failed.name, ended.failed.subject],
        "made": [[call.name, call.subject] for call in ended.made],
        "result": json.loads(said) if said else None,
    }


def _result(order: dict[str, Any]) -> dict[str, Any]:
    """What the body gave, or the error that a user would have been told."""
    try:
        # As the API and the commands tell it.
        with trouble.told():
            done = getattr(bodies, order["body"])(Settings(**order["settings"]), **order["arguments"])
    except ApplianceError as error:
        return {"error": type(error).__name__, "status": error.status, "message": str(error), "way_out": error.way_out}
    return {"done": done}


def _tell(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError("the child did not end in time")


if __name__ == "__main__":
    main()
