"""A plant as a service: its mark stands on everything, and nothing but a signal ends it."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance import demo_lock, intake, quality, reader
from appliance import profile as profiles
from appliance.intake import Claimed
from appliance.profile import Profile
from model import simulate
from model.plants import PLANTS, Milling, Plant, csv_bytes, drop, lasting
from model.plants.drop import Dropper, play
from model.plants.source import Drop, Positions, simulated
from tests.profiles import FOLDER
from tests.unit.plants.test_simulate_command import own_signal_handlers, run, start, wait_for

__all__ = ["own_signal_handlers"]

MACHINE = {
    "folder": 'from = "folder"',
    "filename": 'from = "filename"\npattern = "^(machine-[0-9]+)_"',
    "constant": 'from = "constant"\nvalue = "oven"',
}


def files(raw: Path) -> list[Path]:
    return sorted(path for path in raw.rglob("*") if path.is_file() and not path.name.startswith("."))


def machines_of(raw: Path, profile: Profile, work: Path) -> set[str]:
    """The machines that the appliance will know after it took all files; each file is known for a simulated one."""
    work.mkdir(exist_ok=True)
    found: set[str] = set()
    for look in intake.look(raw, [profile.name]).values():
        claimed = intake.claim(look, profile, work, 10**9)
        assert isinstance(claimed, Claimed)
        assert claimed.refusal is None
        assert claimed.origin.startswith("demo-")
        assert claimed.path is not None
        with reader.open_file(claimed.path, "csv", profile) as batches:
            checker = quality.Checker(profile, batches.header, claimed.origin, datetime.now(UTC))
            for batch in batches:
                found |= set(checker.check(batch).good["_machine"])
    return found


@pytest.mark.parametrize("name", PLANTS)
def test_a_plant_bears_the_mark_and_drops_the_same_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    played = ("--plant", name, "--machines", 3, "--every", 0, "--rows-per-file", 20, "--files", 2)
    marked, plain = tmp_path / "marked", tmp_path / "plain"
    marked.mkdir()
    assert run(capsys, "--into", marked, "--as-demo", *played)[0] == 0
    assert run(capsys, "--into", plain, *played)[0] == 0
    assert {path.name: path.read_bytes() for path in files(marked)} == {
        f"demo-{path.name}": path.read_bytes() for path in files(plain)
    }
    plant = PLANTS[name]()
    assert machines_of(marked, plant.profile, tmp_path / "work") == {f"demo-{plant.machine(n)}" for n in (1, 2, 3)}


@pytest.mark.parametrize("source", MACHINE)
def test_a_given_file_bears_the_mark_whoever_names_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    text = (FOLDER / "milling.toml").read_text()
    (tmp_path / "own.toml").write_text(text.replace('from = "folder"', MACHINE[source]))
    (tmp_path / "own.csv").write_bytes(csv_bytes("milling", 30))
    raw = tmp_path / "raw"
    raw.mkdir()
    given = ("--plant", tmp_path / "own.toml", "--from", tmp_path / "own.csv", "--machines", 2, "--rows-per-file", 10)
    assert run(capsys, "--into", raw, "--as-demo", "--every", 0, *given)[0] == 0
    assert len(files(raw)) == 3
    profile = profiles.load(tmp_path / "own.toml")
    wanted = {"demo-oven"} if source == "constant" else {"demo-machine-1", "demo-machine-2"}
    assert machines_of(raw, profile, tmp_path / "work") == wanted


def test_a_demo_and_a_plain_play_keep_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    played = ("--into", tmp_path, "--machines", 1, "--every", 0, "--files", 1, "--rows-per-file", 5)
    run(capsys, *played)
    run(capsys, *played, "--as-demo")
    first, second = files(tmp_path)
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / ".demo-simulate-milling.json").exists()


def test_nothing_is_dropped_while_its_files_wait(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / "milling" / "mill-9").mkdir(parents=True, exist_ok=True)
        (tmp_path / "milling" / "mill-9" / f"{number}.csv").write_text("of a real machine, which counts for nothing")
    played = ("--as-demo", "--every", 0, "--machines", 2, "--rows-per-file", 5, "--most-waiting", 6, "--json")
    process = start("--into", tmp_path, *played)
    waiting = lambda: list(tmp_path.glob("milling/demo-*/demo-*"))  # noqa: E731
    wait_for(lambda: len(waiting()) == 6, process)
    time.sleep(0.2)
    assert len(waiting()) == 6
    for path in waiting()[:4]:
        path.unlink()
    wait_for(lambda: len(waiting()) == 6, process)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=60)
    summary = json.loads(printed)
    assert (process.returncode, errors, summary["stopped"]) == (0, "", True)
    assert (summary["files"], len(waiting())) == (10, 6)
    # No turn was drawn in vain: five files of each machine.
    assert {path.stem[-6:] for path in waiting()} <= {f"{number:06d}" for number in range(1, 6)}


def test_after_a_kill_it_goes_on_and_clears_up(tmp_path: Path) -> None:
    process = start("--into", tmp_path, "--as-demo", "--machines", 1, "--every", 0, "--rows-per-file", 500)
    wait_for(lambda: len(files(tmp_path)) >= 3, process)
    process.kill()
    process.communicate()
    half = tmp_path / "milling" / "demo-mill-1" / ".demo-mill-1_000009.csv.0a1b2c3d.tmp"
    half.write_text("half a file")
    came = len(files(tmp_path))
    process = start("--into", tmp_path, "--as-demo", "--machines", 1, "--every", 0, "--rows-per-file", 500)
    wait_for(lambda: len(files(tmp_path)) >= came + 3, process)
    process.terminate()
    process.communicate(timeout=60)
    assert not half.exists()
    plant = Milling()
    for path in files(tmp_path):
        number = int(path.stem[-6:])
        assert path.read_bytes() == plant.header() + plant.lines(plant.rows(0, 1, (number - 1) * 500, 500))


def test_a_signal_ends_the_waiting_too(tmp_path: Path) -> None:
    process = start("--into", tmp_path / "raw", "--as-demo")
    assert process.stderr is not None
    assert "raw/.demo-lock: No such file or directory. Waiting." in process.stderr.readline()
    process.terminate()
    assert process.wait(timeout=60) == 0
    assert not (tmp_path / "raw").exists(), "a folder that stands for a disk is not ours to make"
    process.communicate()


class Service:
    """A plant of one mill in a thread, pausing briefly."""

    def __init__(self, raw: Path) -> None:
        self.raw, self.stop, self.errors = raw, threading.Event(), list[BaseException]()
        self.dropper = Dropper(raw, Milling().profile, stop=self.stop)
        self.thread = threading.Thread(target=self._run)

    def _once(self) -> None:
        plant: Plant = Milling()
        positions = Positions(self.raw / ".demo-simulate-milling.json")
        drops = simulated(plant, positions, seed=0, machines=1, rows=5, files=None, start_at=None, mark="demo-")
        play(drops, self.dropper, interval=0.005, stop=self.stop)

    def _run(self) -> None:
        try:
            lasting.play_on(self.raw, self.dropper, self._once, self.stop, again=True)
        except BaseException as error:
            self.errors.append(error)

    def await_files(self, wanted: Callable[[int], bool]) -> None:
        until = time.monotonic() + 60
        while not wanted(len(files(self.raw)) if self.raw.is_dir() else 0):
            assert self.thread.is_alive(), self.errors
            assert time.monotonic() < until
            time.sleep(0.005)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(lasting, "PAUSE_SECONDS", 0.02)
    made = Service(tmp_path / "raw")
    made.thread.start()
    yield made
    made.stop.set()
    made.thread.join(60)
    assert made.errors == []


def test_what_is_in_the_way_is_waited_for_and_said_once(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time.sleep(0.1)
    assert not service.raw.exists()
    (tmp_path / "raw").mkdir()
    service.await_files(lambda n: n >= 3)
    # The disk goes, and comes back.
    service.raw.rename(tmp_path / "away")
    time.sleep(0.1)
    (tmp_path / "away").rename(service.raw)
    before = len(files(service.raw))
    service.await_files(lambda n: n > before)
    # Nothing can be written where it belongs.
    (service.raw / "milling").rename(tmp_path / "kept")
    (service.raw / "milling").write_text("a file where a folder belongs")
    time.sleep(0.1)
    (service.raw / "milling").unlink()
    service.await_files(lambda n: n >= 1)
    said = capsys.readouterr().err.splitlines()
    assert said
    assert len(said) < 12, "the same trouble is told again and again"
    assert all(line.endswith("Waiting.") for line in said)
    numbers = [int(path.stem[-6:]) for path in (*files(tmp_path / "kept"), *files(service.raw))]
    assert len(numbers) == len(set(numbers))


def test_it_waits_while_its_rows_are_removed(service: Service) -> None:
    service.raw.mkdir()
    service.await_files(lambda n: n >= 1)
    service.stop.set()
    service.thread.join(60)
    with demo_lock.silence(service.raw):
        again = Service(service.raw)
        again.thread.start()
        time.sleep(0.1)
        came = len(files(service.raw))
        time.sleep(0.1)
        assert len(files(service.raw)) == came
    again.await_files(lambda n: n > came)
    again.stop.set()
    again.thread.join(60)


def test_plants_play_side_by_side(tmp_path: Path) -> None:
    with demo_lock.playing(tmp_path), demo_lock.playing(tmp_path):
        pass
    with demo_lock.silence(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


class Clock(threading.Event):
    """Time that passes by waiting alone, and sleeps through an hour once."""

    def __init__(self, sleeps_at: float) -> None:
        super().__init__()
        self.now, self.sleeps_at = 0.0, sleeps_at

    def monotonic(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        if self.now >= self.sleeps_at:
            self.now, self.sleeps_at = self.now + 3600, float("inf")
        return self.now > 3700


def test_what_was_slept_through_is_not_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(sleeps_at=50)
    monkeypatch.setattr(drop, "time", clock)
    moments: list[float] = []

    def drops() -> Iterator[Drop]:
        while True:
            moments.append(clock.now)
            yield Drop("m", 1, b"", 0)

    list(drop._in_time(drops(), 10.0, clock, lambda: False))
    assert moments[:5] == [0, 10, 20, 30, 40]
    assert [moment for moment in moments if moment >= 3600] == [3650, 3650, 3660, 3670, 3680, 3690, 3700]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rows", "3", "--out", "x.csv", "--as-demo"], "--as-demo belongs to --into"),
        (["--into", "raw", "--most-waiting", "3"], "--most-waiting belongs to --as-demo"),
        (["--into", "raw", "--as-demo", "--most-waiting", "0"], "'0' is no whole number of at least 1"),
    ],
)
def test_options_that_contradict_each_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[Any],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert simulate.main(arguments) == 2
    assert says in capsys.readouterr().err
