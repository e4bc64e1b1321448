"""A box on which the appliance's services run, from this checkout; the least that they need, and nothing of a playbook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from appliance import bundle, signing
from tests import small_models
from tests.box.box import Box
from tests.box.furnish import CHECKOUT, PYTHON

PROFILE = "milling"
_SETTINGS = """
data_dir = "/var/lib/appliance"
keys_dir = "/etc/appliance/keys"
dsn = "postgresql:///appliance?host=/var/run/postgresql"
api_socket = "/run/appliance/api.sock"
schedule = "airflow"
predict_cron = "* * * * *"
settle_seconds = 0.5
"""
_DATABASE = (
    "CREATE ROLE appliance LOGIN",
    "CREATE ROLE airflow LOGIN IN ROLE appliance",
    "CREATE DATABASE appliance OWNER appliance",
    "ALTER ROLE airflow IN DATABASE appliance SET role = 'appliance'",
    "CREATE DATABASE airflow OWNER airflow",
)
# Made on the box, where they stay.
_SECRETS = """
import base64, os, secrets
from pathlib import Path
def keep(name, value):
    path = Path("/etc/appliance/secrets", f"appliance_{name}")
    path.touch(mode=0o600)
    path.write_text(value)
keep("airflow_fernet_key", base64.urlsafe_b64encode(os.urandom(32)).decode())
keep("airflow_jwt_secret", secrets.token_urlsafe(48))
keep("airflow_secret_key", secrets.token_urlsafe(48))
keep("notify_targets", "")
"""
_TOKEN = """
set -e
umask 077
cd /
runuser -u appliance -- /opt/appliance/current/bin/appliance token create schedule --role operator --source scheduled \
    2>/dev/null | tr -d '\\n' > /etc/appliance/secrets/appliance_api_token
"""
_UNITS = """
set -e
cd /root/systemd
mkdir -p /etc/sysusers.d /etc/tmpfiles.d
cp sysusers.d/* /etc/sysusers.d/
cp tmpfiles.d/* /etc/tmpfiles.d/
cp -r *.service *.socket *.target *.timer *.service.d /etc/systemd/system/
systemd-sysusers
useradd --system --gid machines --no-create-home machines
systemd-tmpfiles --create appliance.conf
install --directory /etc/appliance/keys
install --directory --mode 0700 /etc/appliance/secrets
systemctl daemon-reload
"""
_MODEL = f"""
set -e
cp /root/shelf/keys/*.pub /etc/appliance/keys/
cp -r /root/shelf/models/{PROFILE} /var/lib/appliance/models/
chown -R appliance:appliance /var/lib/appliance/models
install --directory --group machines --mode 2775 /var/lib/appliance/raw_data/{PROFILE}
systemd-tmpfiles --create appliance.conf
"""


def install(box: Box, folder: Path) -> None:
    """Put the checkout's wheel and units on a furnished box, with a model and a database; ``folder`` is for scraps."""
    wheel = _wheel(folder)
    _shelf(folder / "shelf")
    for source in (wheel, CHECKOUT / "systemd", folder / "shelf"):
        box.put(source, "/root/")
    box.run(f"{PYTHON} -m pip install --quiet --no-deps --no-index /root/{wheel.name}", seconds=120)
    box.run("cat > /root/settings", given=_SETTINGS)
    box.run(_UNITS)
    box.run("install -m 0644 /root/settings /etc/appliance/appliance.toml")
    for statement in _DATABASE:
        box.run("runuser -u postgres -- psql --quiet --set ON_ERROR_STOP=1 --file -", given=f"{statement};")
    appliance(box, "db migrate")
    box.run(_MODEL)
    box.run("python3 -", given=_SECRETS)
    box.run(_TOKEN)
    # As an installer does: all that says when it is wanted.
    box.run("cd /root/systemd && systemctl enable --quiet $(grep -l '^WantedBy=' *.service *.socket *.target *.timer)")


def drop(box: Box, machine: str, name: str, text: str) -> None:
    """Drop a file as a machine does."""
    folder = f"/var/lib/appliance/raw_data/{PROFILE}/{machine}"
    line = f"umask 0002; mkdir -p {folder}; cd {folder}; cat > {name}.part && mv {name}.part {name}"
    box.run(f"runuser -u machines -- sh -c '{line}'", given=text)


def python(box: Box, script: str, *, user: str = "airflow", check: bool = True) -> str:
    """What a script prints that runs with the appliance's libraries, as a user who may speak to the API."""
    line = f"cd / && runuser -u {user} -- /opt/appliance/current/bin/python -"
    return box.run(line, given=script, check=check, seconds=180).out


def locked_in(box: Box, unit: str, script: str) -> str:
    """What a script prints that runs where a service does: as its user, behind the doors that are closed to it."""
    box.run(
        f"""
set -e
cd /run/systemd/system
rm -rf appliance-proof.service*
cp -r /etc/systemd/system/{unit}.service.d appliance-proof.service.d
grep -E '^(User|Group)=' /etc/systemd/system/{unit}.service > /root/who
cat > /root/proof.py
install -m 0644 /root/proof.py /opt/appliance/proof.py
(echo '[Service]'; cat /root/who; echo Type=oneshot; echo StandardOutput=file:/root/proof.out
 echo ExecStart=/opt/appliance/current/bin/python /opt/appliance/proof.py) > appliance-proof.service
systemctl daemon-reload
""",
        given=script,
    )
    box.run("systemctl start appliance-proof", seconds=120)
    return box.run("cat /root/proof.out").out


def appliance(box: Box, words: str, *, user: str = "appliance", check: bool = True) -> str:
    """What the command prints, as the user that the API runs as."""
    line = f"cd / && runuser -u {user} -- /opt/appliance/current/bin/appliance {words}"
    return box.run(line, check=check, seconds=120).out


def _wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def _shelf(folder: Path) -> None:
    key = folder / "keys" / "signing.key"
    key.parent.mkdir(parents=True)
    signing.create_key(key)
    (folder / "models").mkdir()
    version = bundle.publish(small_models.files(PROFILE), folder / "models", key).version
    bundle.activate(folder / "models", PROFILE, version, signing.trusted_keys(key.parent))
    key.unlink()
