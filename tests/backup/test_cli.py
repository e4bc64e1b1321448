"""The commands as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.backup.conftest import Boxes, Stage
from tests.cli.test_commands import Command, command

__all__ = ["command"]


@pytest.fixture
def backing(command: Command, stage: Stage) -> Command:
    """The command, with the settings of the stage."""
    command.environment |= environment(stage)
    return command


def environment(stage: Stage) -> dict[str, str]:
    settings = stage.settings
    key = {"APPLIANCE_BACKUP_RECIPIENT": settings.backup_recipient} if settings.backup_recipient else {}
    return key | {
        "APPLIANCE_DATA_DIR": str(settings.data_dir),
        "APPLIANCE_DSN": settings.require_dsn(),
        "APPLIANCE_SITE": settings.site,
        "APPLIANCE_BACKUP_TO": settings.backup_to or "",
        "APPLIANCE_PROFILES_DIR": str(settings.profiles_dir),
        "APPLIANCE_DISK_RESERVE_MB": "0",
    }


def test_without_a_place_it_says_so_and_is_content(command: Command) -> None:
    for words in (("backup",), ("backup", "list"), ("backup", "drill")):
        assert "nothing is backed up" in command(*words).stdout
    assert json.loads(command("backup", "--json").stdout) == {"backup": None}
    assert "No place for backups is set" in command("backup", "verify", code=1).stderr


def test_make_list_verify_drill_restore(backing: Command, stage: Stage, boxes: Boxes, place: Path, owner: Path) -> None:
    made = json.loads(backing("backup", "--json").stdout)
    assert made["secrets"] is True
    name = made["backup"]
    assert name in backing("backup", "drill").stdout
    assert "each as it was made" in backing("backup", "verify").stdout
    told = json.loads(backing("backup", "verify", place / name, "--json").stdout)
    assert (told["backup"], told["wrong"]) == (name, [])
    (listed,) = json.loads(backing("backup", "list", "--json").stdout)["backups"]
    assert (listed["name"], listed["damage"], listed["drill_error"]) == (name, None, None)
    assert backing("backup", "list").stdout.splitlines()[1].startswith(name)
    fresh = boxes.fresh("fresh", place)
    backing.environment |= environment(fresh)
    assert "Nothing was changed" in backing("restore", name, "--dry-run").stdout
    done = json.loads(backing("restore", name, "--identity", owner, "--json").stdout)
    assert (done["name"], done["secrets"]) == (name, True)
    assert fresh.told() == stage.told()
    assert "_before_restore" in backing("restore", "--forget").stdout


def test_a_damaged_one_is_a_fault_and_wrong_words_are_told(backing: Command, place: Path) -> None:
    name = json.loads(backing("backup", "--json").stdout)["backup"]
    (place / name / "files.tar").write_bytes(b"")
    assert "files.tar is not what it was" in backing("backup", "verify", name, code=1).stdout
    assert "files.tar is not what it was" in backing("restore", name, code=1).stderr
    assert "Which backup?" in backing("restore", code=2).stderr
    assert "There is no folder" in backing("restore", place / "nothing", code=1).stderr
    assert "takes no file" in backing("restore", name, "--forget", code=2).stderr
