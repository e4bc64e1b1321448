"""What the schedule costs and how long a file takes: ``python -m tests.bench.schedule`` (``make bench-schedule``).

A whole box runs for minutes: API, Airflow's api-server and scheduler, a webhook that is told of bad files. CPU and
memory are those of Airflow's tree alone, as the kernel counts them; PostgreSQL and the API are left out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.engine import make_url

from appliance import durable
from appliance.airflow.trigger import trigger
from appliance.store import embedded
from appliance.store.migrations import migrate
from model.plants import PLANTS, csv_bytes
from tests.api.conftest import stock
from tests.bench.machine import facts
from tests.schedule.box import Scheduled

PAGE = Path(__file__).parents[2] / "docs" / "performance-schedule.md"
GOAL_PSS_MIB, GOAL_CPU, GOAL_GROWTH_MIB = 500, 0.04, 20
SERVICES = ("airflow-api-server", "airflow-scheduler")
SECONDS_BETWEEN_FILES = 13.0  # no divisor of a minute, so that files come at every second of it
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_SETTLE = 45.0
MIB = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    found: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": facts(), "minutes": options.minutes}
    found["command"] = " ".join(
        ["make bench-schedule", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])]
    )
    with ExitStack() as stack:
        told: dict[str, float] = {}
        box = _box(stack, told)
        _say("waiting for the first runs to be over")
        time.sleep(SECONDS_TO_SETTLE)
        if "idle" in options.parts:
            found["idle"] = _idle(box, options.minutes)
        if "flow" in options.parts:
            found["flow"] = _flow(box, options.minutes, told)
        if "growth" in options.parts:
            found["growth"] = _growth(box, options.runs)
    print(json.dumps(found, indent=2))
    if options.write:
        PAGE.write_text(markdown(found), encoding="utf-8")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.schedule", description=__doc__)
    parts = ("idle", "flow", "growth")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts), help="what to measure (all)")
    parser.add_argument("--minutes", type=float, default=5, help="minutes with nothing new, and with files (5)")
    parser.add_argument("--runs", type=int, default=300, help="runs, one after the other (300)")
    parser.add_argument("--write", action="store_true", help=f"rewrite docs/{PAGE.name}")
    return parser.parse_args(arguments)


def _idle(box: Scheduled, minutes: float) -> dict[str, float]:
    """Share of one core over minutes in which no file comes, and the tree's memory: all through, and at most."""
    _say(f"{minutes:g} minutes with nothing new")
    before, since = _cpu(box), time.monotonic()
    seen = []
    while time.monotonic() < since + minutes * 60:
        seen.append(_pss(box))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    share = (_cpu(box) - before) / (time.monotonic() - since)
    return {"cpu": round(share, 4), "pss_mib": round(statistics.mean(seen)), "peak_mib": round(max(seen))}


def _flow(box: Scheduled, minutes: float, told: dict[str, float]) -> dict[str, Any]:
    """Files come one by one, good and all-bad ones in turn; seconds until the rows can be asked for, and until a person knows."""
    _say(f"{minutes:g} minutes with a file every {SECONDS_BETWEEN_FILES:g} s")
    good, bad, seen = {}, {}, []
    end = time.monotonic() + minutes * 60
    number = 0
    while time.monotonic() < end:
        number += 1
        data = csv_bytes(PLANTS["milling"](), 20, seed=1000 + number)
        name = f"{'good' if number % 2 else 'bad'}{number:04d}.csv"
        if number % 2:
            good[name] = _drop(box, name, data)
        else:
            header, *rows = data.decode().splitlines()
            # No two alike: content that is known already is a duplicate, of which nobody is told.
            damaged = [",".join([f"?{number}"] * (line.count(",") + 1)) for line in rows]
            bad[name] = _drop(box, name, "\n".join([header, *damaged, ""]).encode())
        pause = time.monotonic() + SECONDS_BETWEEN_FILES
        while time.monotonic() < pause:
            seen.append(_pss(box))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    _say("waiting for what is on its way")
    waiting = "SELECT FROM part WHERE state = 'waiting'"
    box.until(lambda: not box.ours(waiting) and not list(box.settings.raw.rglob("*.csv")), seconds=400)
    box.until(lambda: all(any(Path(name).stem in text for text in told) for name in bad), seconds=400)
    done = {row.name: row.predicted_at.timestamp() for row in box.ours("SELECT name, predicted_at FROM file")}
    return {
        "files": len(good) + len(bad),
        "pss_mib": round(statistics.mean(seen)),
        "peak_mib": round(max(seen)),
        "prediction": _spread([done[name] - at for name, at in good.items()]),
        "message": _spread([min(at for text, at in told.items() if Path(n).stem in text) - dropped for n, dropped in bad.items()]),
    }  # fmt: skip


def _growth(box: Scheduled, runs: int) -> dict[str, float]:
    """What the tree's memory gained over runs that follow each other at once."""
    count = "SELECT FROM dag_run WHERE dag_id = 'ingest' AND state IN ('success', 'failed')"
    before = 0.0
    warm = runs // 10
    for number in range(warm + runs):
        if number == warm:
            before = _pss(box)
        ended = len(box.theirs(count))
        trigger(box.settings, "ingest")
        box.until(lambda ended=ended: len(box.theirs(count)) > ended, every=0.1)
        if number % 50 == 49:
            _say(f"run {number + 1} of {warm + runs}: {_pss(box):.0f} MiB")
    time.sleep(10)
    return {"runs": runs, "mib": round(_pss(box) - before, 1)}


def _box(stack: ExitStack, told: dict[str, float]) -> Scheduled:
    folder = Path(tempfile.mkdtemp(prefix="appliance-bench-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    _say("starting a database, an API and Airflow")
    server = embedded.start(folder / "db", options={"max_connections": "60"})
    stack.callback(server.stop)
    migrate(server.dsn)
    airflow = make_url(server.dsn).set(database="airflow").render_as_string(hide_password=False)
    box = Scheduled.make(folder, server.dsn, airflow, stock(_made(folder / "shelf")), stack)
    port = stack.enter_context(_webhook(told))
    durable.write(folder / "secrets" / "appliance_notify_targets", f"json://127.0.0.1:{port}/".encode(), 0o600)
    box.environment = {**box.environment, "APPLIANCE_NOTIFY_PER_HOUR": "10000"}
    box.start("api", "appliance", "api")
    for service in SERVICES:
        box.start(service, "appliance", "airflow", service.removeprefix("airflow-"))
    box.until(box.well)
    return box


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _drop(box: Scheduled, name: str, data: bytes) -> float:
    folder = box.settings.raw / "milling" / "mill-1"
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{name}"
    aside.write_bytes(data)
    aside.rename(folder / name)
    return time.time()


@contextmanager
def _webhook(told: dict[str, float]) -> Iterator[int]:
    """A receiver of messages on loopback: each text with the moment at which it came first."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told.setdefault(f"{message['title']}\n{message['message']}", time.time())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _tree(box: Scheduled) -> Iterator[psutil.Process]:
    for service in SERVICES:
        root = psutil.Process(box.services[service].pid)
        yield from (root, *root.children(recursive=True))


def _sum(box: Scheduled, of: Callable[[psutil.Process], float]) -> float:
    total = 0.0
    for process in _tree(box):
        try:
            total += of(process)
        except psutil.NoSuchProcess:
            continue
    return total


def _cpu(box: Scheduled) -> float:
    """CPU seconds of all that live, with those of the children that they saw end."""
    return _sum(box, lambda process: sum(process.cpu_times()[:4]))


def _pss(box: Scheduled) -> float:
    """MiB; pages that processes share count once."""
    return _sum(box, lambda process: process.memory_full_info().pss) / MIB


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return {"n": len(ordered), "p50": round(statistics.median(ordered), 1), "p95": round(p95, 1)}


def markdown(found: dict[str, Any]) -> str:
    """The page; what was not measured does not stand there."""
    box = found["machine"]
    lines = [
        "# What the schedule costs",
        "",
        f"Measured by `{found['command']}` on {found['date']}, on {box['cores']} cores of {box['cpu']},",
        f"{box['memory_gib']} GiB, {box['system']}, Python {box['python']}. A whole box on one machine: API, Airflow's",
        "api-server and scheduler, an ingest every minute and a predict every two. Figures are those of Airflow's tree",
        "(PSS, so that shared pages count once), without PostgreSQL and the API.",
        "",
        "| what | figure | aim |",
        "| --- | ---: | ---: |",
    ]
    if idle := found.get("idle"):
        minutes = f"{found['minutes']:g} minutes with nothing new"
        lines.append(f"| CPU of one core over {minutes} | {idle['cpu']:.1%} | at most {GOAL_CPU:.0%} |")
        lines.append(_memory("through them", idle))
    if flow := found.get("flow"):
        lines.append(_memory(f"while {flow['files']} files come", flow))
        for what, name in (("prediction", "file dropped to prediction in the database"), ("message", "bad file dropped to message received")):  # fmt: skip
            seen = flow[what]
            lines.append(f"| {name}, median of {seen['n']} (p95) | {seen['p50']} s ({seen['p95']} s) | |")
    if growth := found.get("growth"):
        lines.append(f"| growth over {growth['runs']} runs | {growth['mib']} MiB | under {GOAL_GROWTH_MIB} MiB |")
    lines += [
        "",
        "The clock is most of the waiting: a file waits up to a minute for its ingest, and its rows up to two more for their",
        "predict. A look at memory that finds a task at work finds its process too, for the seconds that it lives; an",
        "ingest that takes a file carries Polars.",
        "",
    ]
    return "\n".join(lines)


def _memory(when: str, seen: dict[str, Any]) -> str:
    figure = f"{seen['pss_mib']} MiB ({seen['peak_mib']} MiB)"
    return f"| memory {when}, mean of a look a second (highest) | {figure} | mean at most {GOAL_PSS_MIB} MiB |"


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
