"""The tests' end of :mod:`tests.faults.forks`."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults.calls import ARCHITECTURES, Call

_ROOT = Path(__file__).parents[2]
# One thread of OpenBLAS, which nobody needs here; two of Polars, as on a small box.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2", "PYTHONDONTWRITEBYTECODE": "1"}


class Trouble(AssertionError):
    """A child that broke down, rather than being killed or telling an error of the product."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: killed before a call, or with a result or an error of the product (its class's name, its sentence,
    and the way out alone). ``failed``: the call that failed on the way."""

    made: Sequence[Call]
    killed_by: Call | None = None
    failed: Call | None = None
    done: Mapping[str, Any] | None = None
    error: str = ""
    status: int = 0
    message: str = ""
    way_out: str = ""


@dataclass(slots=True)
class Held:
    """A run that stands still before ``call``, with all the locks and connections that it has."""

    runner: Runner
    call: Call

    def go(self) -> Ended:
        return self.runner.answer("go")

    def kill(self) -> Ended:
        return self.runner.answer("kill")


class Runner:
    """A process that runs one body at a time in a fresh child."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.forks"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=_ROOT,
                env=os.environ | _ENVIRONMENT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def kill_child(self) -> None:
        """End what runs at this moment, wherever it is; who waits for it gets Trouble."""
        number = self._process.pid
        for child in Path(f"/proc/{number}/task/{number}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def hindrance(self) -> str:
        """Why nothing can be killed at its calls here, '' where it can: another system, or tracing is forbidden."""
        if platform.machine() not in ARCHITECTURES or sys.platform != "linux":
            return f"the numbers of system calls are not known for {sys.platform} on {platform.machine()}"
        try:
            self.run("nothing", {})
        except Trouble as trouble:
            return str(trouble)
        return ""

    def run(self, body: str, settings: Mapping[str, Any], *, kill_at: int = 0, **arguments: Any) -> Ended:
        """Run a function of :mod:`tests.faults.bodies`; killed before its ``kill_at``-th changing call (0: never)."""
        self._order(body, settings, kill_at, False, None, arguments)
        return self.answer()

    def fail(self, body: str, settings: Mapping[str, Any], at: int, error: int, **arguments: Any) -> Ended:
        """Run it, and let its call of that number fail with that error."""
        self._order(body, settings, at, False, error, arguments)
        return self.answer()

    def hold(self, body: str, settings: Mapping[str, Any], at: int, **arguments: Any) -> Held:
        """Run it up to a call, and let it stand there."""
        self._order(body, settings, at, True, None, arguments)
        answer = self._read()
        if "held" not in answer:
            raise Trouble(f"{body} did not come to its call {at}: {answer}")
        return Held(self, Call(*answer["held"]))

    def answer(self, word: str = "") -> Ended:
        """What the run comes to, after telling it a word."""
        if word:
            self._write(word)
        answer = self._read()
        if "trouble" in answer:
            raise Trouble(answer["trouble"])
        killed_by = answer["killed_by"] and Call(*answer["killed_by"])
        failed = answer["failed"] and Call(*answer["failed"])
        made = [Call(*call) for call in answer["made"]]
        if killed_by is not None:
            return Ended(made, killed_by)
        result = answer["result"]
        if answer["code"] != 0 or result is None:
            raise Trouble(f"the child broke down ({answer['code']}):\n{self._log.read_text()[-3000:]}")
        if "error" in result:
            return Ended(made, failed=failed, **result)
        return Ended(made, failed=failed, done=result["done"])

    def _order(
        self,
        body: str,
        settings: Mapping[str, Any],
        at: int,
        hold: bool,
        error: int | None,
        arguments: Mapping[str, Any],
    ) -> None:
        what = {"body": body, "settings": settings, "arguments": arguments}
        self._write(json.dumps({**what, "at": at, "hold": hold, "error": error}, default=str))

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Trouble(f"the forking process ended:\n{self._log.read_text()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer
