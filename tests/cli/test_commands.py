"""The command as a user types it: output, exit codes, one sentence for a wrong input."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import bundle, cli, signing
from model.plants import PLANTS, csv_bytes
from tests import small_models
from tests.profiles import FOLDER


class Command:
    """``appliance ...`` in a folder of its own, without settings from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ours = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
        self.environment = ours | {"APPLIANCE_DATA_DIR": str(folder / "data"), "COLUMNS": "200"}

    def __call__(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "appliance", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def trained(command: Command) -> Command:
    """With a small model of the mill installed and active, whose key is trusted."""
    data = command.folder / "data"
    key = data / "keys" / "signing.key"
    signing.create_key(key)
    (data / "models").mkdir()
    made = bundle.publish(small_models.files("milling"), data / "models", key)
    bundle.activate(data / "models", "milling", made.version, signing.trusted_keys(key.parent))
    return command


def test_the_shipped_profiles_pass_their_check(command: Command) -> None:
    told = json.loads(command("profile", "check", "milling", "--json").stdout)
    assert told["profile"] == "milling"
    assert "strain" in told["inputs"]
    assert "pump" in command("profile", "check", FOLDER / "pump.toml").stdout


def test_a_wrong_profile_gets_one_sentence(command: Command) -> None:
    wrong = command.folder / "wrong.toml"
    wrong.write_text((FOLDER / "milling.toml").read_text().replace("maximum = 320", "maximum = 20"))
    said = command("profile", "check", wrong, code=1).stderr.strip()
    assert said.startswith("appliance: wrong.toml: columns[4] (air_temperature): maximum 20 is below minimum 280.")
    assert "\n" not in said


def test_an_unknown_profile_names_the_known(command: Command) -> None:
    assert "There are milling, pump" in command("profile", "check", "lathe", code=2).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["profile", "check"],
        ["model", "activate", "x"],
        ["score", "absent.csv"],
        ["demo", "--machines", "0"],
    ],
)
def test_wrong_usage_ends_with_2(command: Command, arguments: list[str]) -> None:
    assert command(*arguments, code=2).stderr


def test_without_a_database_the_way_out_is_told(command: Command) -> None:
    for arguments in (["ingest"], ["predict"], ["db", "migrate"], ["token", "list"], ["doctor"]):
        assert "appliance demo" in command(*arguments, code=1).stderr


def test_an_unreachable_database_is_one_sentence(command: Command) -> None:
    command.environment["APPLIANCE_DSN"] = "postgresql://nobody:hush@127.0.0.1:1/none"
    said = command("db", "migrate", code=1).stderr
    assert "PostgreSQL cannot be reached" in said
    assert "hush" not in said


def test_preview_counts_before_anything_is_trained(command: Command) -> None:
    lines = csv_bytes(PLANTS["milling"](), 20, seed=1).decode().splitlines()
    cells = lines[3].split(",")
    cells[6] = "lots"
    lines[3] = ",".join(cells)
    file = command.folder / "mill.csv"
    file.write_text("\n".join(lines) + "\n")
    told = json.loads(command("profile", "preview", file, "--profile", "milling", "--json").stdout)
    assert (told["rows"], told["good"], told["bad"]) == (20, 19, 1)
    assert told["first_reasons"][0][0] == 3
    assert "Torque [Nm]" in told["first_reasons"][0][1]
    assert "19 good, 1 bad" in command("profile", "preview", file, "--profile", "milling").stdout


def test_score_needs_no_database(trained: Command) -> None:
    file = trained.folder / "mill.csv"
    file.write_bytes(csv_bytes(PLANTS["milling"](), 90, seed=1))
    done = trained("score", file)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 90
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)
    assert all(row["reason"] for row in rows if row["failing"] == "1")
    assert "90 scored by milling" in done.stderr
    told = json.loads(trained("score", file, "--json", "--out", trained.folder / "out.csv").stdout)
    assert (told["rows"], told["good"], told["bad"]) == (90, 90, 0)
    assert (trained.folder / "out.csv").read_text() == done.stdout


def test_score_of_a_hopeless_file_is_one_sentence(trained: Command) -> None:
    file = trained.folder / "other.csv"
    file.write_text("a,b\n1,2\n")
    said = trained("score", file, code=1).stderr
    assert said.count("\n") == 1


def test_models_are_listed_verified_and_rolled_back(trained: Command) -> None:
    [first] = json.loads(trained("model", "list", "--json").stdout)["models"]
    assert first["active"]
    models, keys = trained.folder / "data" / "models", trained.folder / "data" / "keys"
    second = bundle.publish(small_models.files("milling", 1), models, keys / "signing.key").version
    trained("model", "activate", second, "--profile", "milling")
    assert (
        json.loads(trained("model", "rollback", "--profile", "milling", "--json").stdout)["version"] == first["version"]
    )
    folder = models / "milling" / second
    assert json.loads(trained("model", "verify", folder, "--json").stdout)["verified"]
    (folder / "card.md").write_text("better than it is")
    assert "is not what was signed" in trained("model", "verify", folder, code=1).stderr
    assert "is not what was signed" in trained("model", "activate", second, "--profile", "milling", code=1).stderr


def test_a_bundle_is_installed_only_from_a_trusted_hand(trained: Command, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger" / "signing.key"
    signing.create_key(stranger)
    folder = small_models.write_signed(tmp_path / "gift", small_models.files("pump"), stranger)
    assert "not signed by a key that this box trusts" in trained("model", "install", folder, code=1).stderr
    trusted = trained.folder / "data" / "keys" / "stranger.pub"
    trusted.write_bytes(signing.public_path(stranger).read_bytes())
    told = json.loads(trained("model", "install", folder, "--activate", "--json").stdout)
    assert (told["profile"], told["active"]) == ("pump", True)


def test_a_key_is_never_overwritten(command: Command) -> None:
    assert "signing.pub" in command("key", "create").stdout
    assert "already" in command("key", "create", code=2).stderr
    assert (command.folder / "data" / "keys" / "signing.key").stat().st_mode & 0o077 == 0


def test_a_token_is_made_listed_and_revoked(command: Command, dsn: str) -> None:
    command.environment["APPLIANCE_DSN"] = dsn
    assert json.loads(command("db", "migrate", "--json").stdout)["revision"]
    made = command("token", "create", "line-2", "--role", "operator", "--days", "1")
    assert made.stdout.startswith("fa_")
    [listed] = json.loads(command("token", "list", "--json").stdout)["tokens"]
    assert (listed["name"], listed["role"], listed["source"]) == ("line-2", "operator", "api")
    assert made.stdout.strip() not in command("token", "list").stdout
    command("token", "revoke", "line-2")
    assert "no valid token" in command("token", "revoke", "line-2", code=1).stderr


def test_one_pass_each_by_hand(trained: Command, dsn: str) -> None:
    trained.environment |= {"APPLIANCE_DSN": dsn, "APPLIANCE_SETTLE_SECONDS": "0"}
    drop = trained.folder / "data" / "raw_data" / "milling" / "mill-1"
    drop.mkdir(parents=True)
    (drop / "a.csv").write_bytes(csv_bytes(PLANTS["milling"](), 30, seed=1))
    assert json.loads(trained("ingest", "--json").stdout)["rows_good"] == 30
    assert trained("ingest").stdout == "No new files.\n"
    trained.environment["APPLIANCE_API_SOCKET"] = str(trained.folder / "absent.sock")
    assert "API" in trained("predict", code=1).stderr


def test_a_full_disk_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cli, "app", full)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("appliance: The disk is full. Free some space")
