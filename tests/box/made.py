"""What tests ask of a box that the playbook set up: its database, its doors, files dropped as a machine does."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from model.plants import PLANTS, csv_bytes
from tests.box import host
from tests.box.box import Box

PROFILE = "milling"
_SOCKET = "/run/appliance/api.sock"


def rows(box: Box, statement: str) -> list[str]:
    """The first column of what a query gives."""
    line = "cd / && runuser -u postgres -- psql --no-psqlrc --set ON_ERROR_STOP=1 --tuples-only --no-align appliance --file -"
    return box.run(line, given=statement).out.split()


def count(box: Box, statement: str) -> int:
    return int(rows(box, statement)[0] or 0)


def predicted(box: Box) -> int:
    """Rows of files that were predicted."""
    return count(box, "SELECT count(*) FROM prediction WHERE file_id IS NOT NULL")


def ready(box: Box) -> tuple[int, dict[str, Any]]:
    """What the API answers to whether all is well, and with which status."""
    line = f"python3 - <<'end'\n{_ASK}\nend"
    found = json.loads(box.run(line).out)
    return found["status"], found["body"]


def write(folder: Path, seed: int, count: int = 40) -> Path:
    """A file as a mill writes it."""
    path = folder / f"file-{seed}.csv"
    path.write_bytes(csv_bytes(PLANTS[PROFILE](), count, seed=seed))
    return path


def drop(box: Box, key: Path, file: Path, machine: str, name: str | None = None) -> None:
    """Copy a file into the drop folder over SFTP, with the machine's own key."""
    target = f"/{PROFILE}/{machine}"
    final = name or file.name
    lines = f"-mkdir {target}\nput {file} {target}/{final}.part\nrename {target}/{final}.part {target}/{final}\n"
    subprocess.run(
        ["sftp", *box.door.options, "-i", str(key), "-b", "-", f"machines@{box.address}"],
        input=lines, text=True, check=True, capture_output=True, timeout=60, env=host.environment(),
    )  # fmt: skip


def settled(box: Box, files: int, seconds: float = 420) -> None:
    """Wait until that many files came, nothing waits any more, and the accounts of every file are exact."""

    def over() -> bool:
        # In one look: between two of them a file may come whose rows wait.
        waiting = (
            "SELECT concat((SELECT count(*) FROM file), ' ', (SELECT count(*) FROM part WHERE state <> 'predicted'))"
        )
        came, left = (int(word) for word in " ".join(rows(box, waiting)).split())
        return came >= files and not left

    host.wait_for(over, seconds, f"files wait still: {box.run('appliance status', check=False).out}")
    wrong = rows(box, _ACCOUNTS)
    assert wrong == [], f"the accounts of files {wrong} do not add up"


def back(box: Box, seconds: float = 300) -> float:
    """Seconds until everything that starts with the box is up and no doctor finds a fault in it."""
    began = time.monotonic()
    units = (
        "appliance.target",
        "appliance-api",
        "appliance-airflow-api",
        "appliance-airflow-scheduler",
        "appliance-ui",
    )
    asked = " ".join((*units, "caddy", "postgresql@*"))

    def up() -> bool:
        states = box.run(f"systemctl is-active {asked}", check=False).out.split()
        return len(states) == len(units) + 2 and set(states) == {"active"} and ready(box)[0] == 200

    host.wait_for(up, seconds, f"not back: {box.run('systemctl list-units appliance* --no-pager', check=False).out}")
    return time.monotonic() - began


_ASK = f"""
import http.client, json, socket
class Local(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(50)
        self.sock.connect("{_SOCKET}")
local = Local("box")
local.request("GET", "/health/ready")
answer = local.getresponse()
print(json.dumps({{"status": answer.status, "body": json.loads(answer.read())}}))
"""
# Files whose rows are not all good or bad, or whose good rows are not each predicted once.
_ACCOUNTS = """
SELECT file.id FROM file
LEFT JOIN (SELECT file_id, count(*) AS n, count(DISTINCT row) AS d FROM prediction
           WHERE file_id IS NOT NULL GROUP BY file_id) p ON p.file_id = file.id
WHERE rows_in <> rows_good + rows_bad OR rows_good <> coalesce(n, 0) OR rows_good <> coalesce(d, 0)
"""
