"""A backup of a whole box, which is then destroyed: on a fresh one everything is back, and the schedule goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from tests.box import made
from tests.box.box import Box
from tests.box.installed import Installed

pytestmark = pytest.mark.box

_PLACE = "/var/backups/appliance"
_OUTCOME = """
INSERT INTO outcome (machine_id, happened_at, kind, who, note) SELECT id, clock_timestamp(), 'failure', 'kim', 'the belt tore'
FROM machine ORDER BY id LIMIT 1
"""
_TOLD = {
    "predictions": "SELECT md5(string_agg(p::text, ' ' ORDER BY id)) FROM prediction p",
    "outcomes": "SELECT count(*) FROM outcome",
    "users": "SELECT string_agg(name || role, ',' ORDER BY name) FROM \"user\"",
    "tokens": "SELECT string_agg(hash, ',' ORDER BY id) FROM token",
}
_RUNNING = "systemctl list-units --plain --no-legend --state=active,activating 'appliance*' | cut -d ' ' -f 1"


def told(box: Box) -> dict[str, list[str]]:
    found = {name: made.rows(box, query) for name, query in _TOLD.items()}
    models = (
        "cd /var/lib/appliance/models && find . -type f ! -name '.*' -print0 | sort -z | xargs -0 sha256sum | sha256sum"
    )
    return found | {
        "models": box.run(models).out.split(),
        "active": box.run(f"cat /var/lib/appliance/models/{made.PROFILE}/active").out.split(),
    }


@pytest.fixture(scope="module")
def owner() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture(scope="module")
def backed_up(
    installed: Installed, owner: pyrage.x25519.Identity, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, dict[str, list[str]]]]:
    """The backup of a box that is destroyed afterwards: its name, where it was brought to, and what has to come back."""
    with Box.made(installed.image) as box:
        box.start()
        made.back(box)
        box.run(
            f"sed -i '/^backup_recipient/d' /etc/appliance/appliance.toml && echo 'backup_recipient = \"{owner.to_public()}\"' >> /etc/appliance/appliance.toml"
        )
        box.run("appliance user add kim --role engineer")
        box.run("appliance model list")
        made.rows(box, _OUTCOME.replace("\n", " "))
        # By the unit, behind its closed doors.
        box.run("systemctl start appliance-backup.service", seconds=300)
        assert box.run("systemctl show --property ExecMainStatus --value appliance-backup.service").out.strip() == "0"
        found = json.loads(box.run("appliance backup list --json").out)["backups"]
        assert [(one["damage"], one["secrets"]) for one in found] == [(None, True)]
        box.run("systemctl start appliance-drill.service", seconds=300)
        assert box.run("systemctl show --property ExecMainStatus --value appliance-drill.service").out.strip() == "0"
        box.run("systemctl stop appliance.target", seconds=180)
        wanted = told(box)
        name = found[0]["name"]
        carried = tmp_path_factory.mktemp("usb") / "backup.tar"
        box.run(f"tar --create --file /root/backup.tar --directory {_PLACE} {name}")
        box.get("/root/backup.tar", carried)
        yield name, carried, wanted


def test_a_fresh_box_becomes_the_one_that_was_destroyed(
    installed: Installed, backed_up: tuple[str, Path, dict[str, list[str]]], owner: pyrage.x25519.Identity
) -> None:
    name, carried, wanted = backed_up
    with Box.made(installed.image) as box:
        box.start()
        made.back(box)
        # As empty as one that nobody dropped a file into.
        made.rows(box, 'TRUNCATE prediction, outcome, token, "user" CASCADE')
        box.run("find /var/lib/appliance/models -name active -delete")
        box.put(carried, "/root/backup.tar")
        box.run("tar --extract --file /root/backup.tar --directory /root")
        box.run("umask 077; cat > /root/owner.key", given=str(owner))
        refused = box.run(f"appliance restore /root/{name}", check=False)
        assert refused.code == 1
        assert "systemctl stop appliance.target" in refused.err
        box.run(f"systemctl stop appliance.target $({_RUNNING})", seconds=240)
        assert "Nothing was changed" in box.run(f"appliance restore /root/{name} --dry-run", seconds=300).out
        done = json.loads(box.run(f"appliance restore /root/{name} --identity /root/owner.key --json", seconds=600).out)
        assert (done["name"], done["secrets"]) == (name, True)
        assert told(box) == wanted
        box.run("systemctl start appliance.target", seconds=400)
        made.back(box)
        assert made.rows(box, "SELECT nspname FROM pg_namespace WHERE nspname = 'report'") == ["report"]
        owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert made.rows(box, owners) == ["appliance"]
        assert "_before_restore" in box.run("appliance restore --forget", check=False).out
