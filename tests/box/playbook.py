"""The playbook, run as its owner runs it: one command, from this checkout, over SSH."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.box import host, lan
from tests.box.box import Box
from tests.box.host import BoxError

CHECKOUT = Path(__file__).parents[2]
ANSIBLE = CHECKOUT / "ansible"
_PROGRAM = Path(sys.executable).with_name("ansible-playbook")
_TASK = "TASK ["
# Names that stay, whatever address a copy of a box gets; without them a box goes by its address.
NAMES = {"appliance_lan_name": lan.NAME, "ui_other_names": [lan.OTHER]}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run said, with the tasks in order. ``counts`` is of its recap: empty where it was killed before that."""

    out: str
    tasks: list[str]
    counts: dict[str, int]

    @property
    def changes(self) -> list[str]:
        """The tasks that changed something."""
        blocks = re.split(r"^(?=TASK \[)", self.out, flags=re.MULTILINE)
        return [block.split("\n", 1)[0] for block in blocks if re.search(r"^changed: ", block, re.MULTILINE)]


class Playbook:
    """``folder`` holds what the machine at the desk keeps: inventory, keys, what was built and trained."""

    def __init__(self, box: Box, folder: Path, **variables: object) -> None:
        self.box = box
        self.folder = folder
        self.machine_key = folder / "machines" / "key"
        if not self.machine_key.exists():
            self.machine_key.parent.mkdir()
            host.call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.machine_key)
        self._inventory = folder / "inventory.json"
        reached = box.inventory() | {"ansible_pipelining": True}
        self._inventory.write_text(json.dumps({"boxes": {"hosts": {"box": reached}}}))
        self._settings = folder / "variables.json"
        self._settings.write_text(
            json.dumps(
                {
                    "appliance_control_folder": str(folder / "built"),
                    "appliance_signing_key": str(folder / "owner" / "signing.key"),
                    "appliance_drop_keys": [self.machine_key.with_suffix(".pub").read_text().strip()],
                    **variables,
                }
            )
        )

    def run(self, *words: str, kill_at: int | None = None, check: bool = True, seconds: float = 2400) -> Ran:
        """Run it to its end; or kill it and all its children as task number ``kill_at`` begins."""
        given = [str(_PROGRAM), "-i", str(self._inventory), "--extra-vars", f"@{self._settings}"]
        # In a control group of the box, so that it ends with the box, whatever becomes of the session.
        group = host.unified() / self.box.name / "desk"
        group.mkdir(parents=True, exist_ok=True)
        command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *given, "site.yml", *words]
        log = self.folder / "playbook.log"
        with log.open("a+") as file:
            began = file.tell()
            process = subprocess.Popen(
                command, cwd=ANSIBLE, env=_environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
            try:
                self._follow(process, log, began, kill_at, seconds)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        out = log.read_text()[began:]
        if check and kill_at is None and process.returncode:
            raise BoxError(f"the playbook ended with {process.returncode}: {out[-4000:]}")
        return Ran(out, re.findall(r"^TASK \[(.*)\] \*", out, re.MULTILINE), _counts(out))

    def _follow(
        self, process: subprocess.Popen[bytes], log: Path, began: int, kill_at: int | None, seconds: float
    ) -> None:
        def over() -> bool:
            return process.poll() is not None or (
                kill_at is not None and log.read_text()[began:].count(_TASK) >= kill_at
            )

        host.wait_for(over, seconds, f"the playbook did not end within {seconds:g} s")


def _environment() -> dict[str, str]:
    return host.environment() | {"LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}


def _counts(out: str) -> dict[str, int]:
    recap = out.rpartition("PLAY RECAP")[2] if "PLAY RECAP" in out else ""
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap)}
