"""The appliance's services on a box that was set up: who they are, and what they may."""

from __future__ import annotations

from tests.box.box import Box
from tests.box.made import PROFILE


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
