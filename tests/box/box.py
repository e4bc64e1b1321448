"""One box: a Debian that was booted for tests.

with Box.made(image) as box:
    box.run("systemctl is-active ssh")
    box.power_cut()
    box.start()
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.box import host, keeper, leftovers, network, ssh
from tests.box.disk import Disk, Image, Layer
from tests.box.host import BOXES, PREFIX, BoxError
from tests.box.network import Cable
from tests.box.ssh import Result, Ssh

_CHECKOUT = Path(__file__).parents[2]
_BOOT_SECONDS = 240.0
_HALT_SECONDS = 90.0
# A box may be run by another thread than the one that looks at it; a line that ends so met a broken connection.
_BROKEN = 255


class Box:
    """A booted Debian of its own network. It belongs to the process that made it, and does not outlive that."""

    def __init__(self, folder: Path, disk: Disk, cable: Cable, door: Ssh, owner: ExitStack) -> None:
        self.name = folder.name
        self.folder = folder
        self.disk = disk
        self.cable = cable
        self.door = door
        self._owner = owner
        self._keeper: subprocess.Popen[bytes] | None = None

    @classmethod
    def made(cls, image: Image, disk_of: Callable[[Image, Path], Disk] = Layer) -> Self:
        """A box of a fresh disk, not started yet; ``disk_of`` makes it from the image, in the box's folder."""
        folder = BOXES / f"{PREFIX}{secrets.token_hex(3)}"
        with ExitStack() as owner:
            with host.locked("boxes"):
                folder.mkdir(parents=True)
                owner.enter_context(leftovers.owning(folder))
            owner.callback(leftovers.put_away, folder)
            disk = disk_of(image, folder)
            disk.attach()
            cable = network.pick(folder.name, folder)
            # Who is copied from another box is not that one.
            for name, content in {**cable.files(), "etc/machine-id": ""}.items():
                (disk.root / name).write_text(content)
            door = ssh.admit(cable.far, folder, disk)
            cable.keep_in()
            cable.open()
            return cls(folder, disk, cable, door, owner.pop_all())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.destroy()

    def destroy(self) -> None:
        """Leave nothing of it on this machine."""
        if self._keeper is not None:
            leftovers.kill(self.name)
            self._await_keeper()
        self._owner.close()

    # Power

    def start(self) -> None:
        """Switch it on and wait until it is up."""
        if self._keeper is not None:
            raise BoxError(f"{self.name} is running")
        self.disk.attach()
        with (self.folder / keeper.LOG).open("ab") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", keeper.__name__, str(self.folder), str(self.disk.root)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=_CHECKOUT,
                start_new_session=True,  # a Ctrl-C is for the session, which then ends the box
            )
        self.wait_ready()

    def stop(self) -> None:
        """Shut it down in good order, as by its power button."""
        with suppress(ProcessLookupError):
            os.kill(int((self.folder / keeper.PID).read_text()), signal.SIGTERM)
        self._await_keeper(_HALT_SECONDS)

    def power_cut(self) -> None:
        """End every process of it at once; nothing is told, nothing is flushed."""
        leftovers.kill(self.name)
        self._await_keeper()

    def reboot(self) -> None:
        """Let it shut down and start again by itself."""
        before = self._boot_id()
        self.run("systemctl reboot", check=False)
        host.wait_for(lambda: self._boot_id() not in ("", before), _BOOT_SECONDS, f"{self.name} did not come back")
        self.wait_ready()

    def freeze(self, folder: Path) -> Image:
        """Stop it for good, and make what is on its disk the image of other boxes."""
        self.stop()
        return self.disk.freeze(folder)

    def wait_ready(self, seconds: float = _BOOT_SECONDS) -> None:
        """Wait until its start is over, whether all units came up or not; :meth:`state` tells."""
        host.wait_for(self._greets, seconds, f"{self.name} cannot be entered: {self.console()[-2000:]}")
        self.run("systemctl is-system-running --wait", check=False, seconds=seconds)

    def state(self) -> tuple[str, list[str]]:
        """What systemd says of the whole (``running``, ``degraded`` ...) and the units that failed."""
        failed = self.run("systemctl list-units --state=failed --plain --no-legend").out.splitlines()
        return self.run("systemctl is-system-running", check=False).out.strip(), [line.split()[0] for line in failed]

    @property
    def running(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None

    # Programs and files

    def run(
        self, command: str, *, check: bool = True, user: str = "root", given: str = "", seconds: float = 60
    ) -> Result:
        """Run a line of shell in it, over ssh; BoxError with what it said where it fails, unless told otherwise."""
        done = self.door.run(command, user=user, given=given, seconds=seconds)
        if check and done.code:
            raise BoxError(f"{command} ended with {done.code}: {(done.err.strip() or done.out.strip())[-4000:]}")
        return done

    def put(self, source: Path, target: str, *, user: str = "root", seconds: float = 120) -> None:
        """Copy a file or a folder into it."""
        self.door.copy(f"put -r {shlex.quote(str(source))} {shlex.quote(target)}", user=user, seconds=seconds)

    def get(self, source: str, target: Path, *, user: str = "root", seconds: float = 120) -> None:
        """Copy a file or a folder out of it."""
        self.door.copy(f"get -r {shlex.quote(source)} {shlex.quote(str(target))}", user=user, seconds=seconds)

    def console(self) -> str:
        """What it wrote on its console, from its first start on."""
        try:
            return (self.folder / keeper.LOG).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    # Network

    @property
    def address(self) -> str:
        return self.cable.far

    def cut_internet(self) -> None:
        """Nothing passes any more but what is between it and this machine."""
        self.cable.cut()

    def restore_internet(self) -> None:
        self.cable.open()

    def inventory(self, user: str = "admin") -> dict[str, str]:
        """The variables by which Ansible finds it."""
        return {
            "ansible_host": self.address,
            "ansible_user": user,
            "ansible_ssh_private_key_file": str(self.door.key),
            "ansible_ssh_common_args": shlex.join(self.door.options),
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def _greets(self) -> bool:
        if not self.running:
            raise BoxError(f"{self.name} ended while it started: {self.console()[-2000:]}")
        return self.door.greets() and self.run("true", check=False).code == 0

    def _boot_id(self) -> str:
        """Names this start of it: the moment of its first process, since it shares the kernel with this machine."""
        done = self.run("stat -c %Y.%Z /proc/1; cut -d' ' -f22 /proc/1/stat", check=False)
        return "" if done.code == _BROKEN else done.out

    def _await_keeper(self, seconds: float = 20) -> None:
        running, self._keeper = self._keeper, None
        if running is None:
            return
        try:
            running.wait(seconds)
        except subprocess.TimeoutExpired:
            leftovers.kill(self.name)
            running.wait(20)
            raise BoxError(f"{self.name} did not halt within {seconds:g} s: {self.console()[-2000:]}") from None
        finally:
            assert running.stdin is not None
            running.stdin.close()
