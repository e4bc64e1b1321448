"""What tells Grafana where its data and its dashboards are. Names in ``$`` are environment variables of its service."""

from __future__ import annotations

import yaml

from grafana.parts import DATASOURCE, Json

HEAD = "# Made by `make generate` from the code beside; change that.\n"
FOLDER = "Appliance"


def datasource() -> str:
    """The database, over its socket: PostgreSQL asks the kernel who it is, so there is no password."""
    return dumped(
        {
            "apiVersion": 1,
            "prune": False,
            "datasources": [
                {
                    "name": "Appliance",
                    "uid": DATASOURCE["uid"],
                    "type": DATASOURCE["type"],
                    "access": "proxy",
                    "orgId": 1,
                    "isDefault": True,
                    "editable": False,
                    "url": "$APPLIANCE_GRAFANA_DATABASE_HOST",
                    "user": "$APPLIANCE_GRAFANA_DATABASE_USER",
                    "jsonData": {
                        "database": "$APPLIANCE_GRAFANA_DATABASE",
                        "sslmode": "disable",
                        "postgresVersion": 1500,
                        "timescaledb": False,
                        # Fewer than the role may have: others may look too.
                        "maxOpenConns": 6,
                        "maxIdleConns": 2,
                        "connMaxLifetime": 600,
                    },
                }
            ],
        }
    )


def dashboards() -> str:
    return dumped(
        {
            "apiVersion": 1,
            "providers": [
                {
                    "name": "appliance",
                    "orgId": 1,
                    "folder": FOLDER,
                    "folderUid": "appliance",
                    "type": "file",
                    "disableDeletion": True,
                    "allowUiUpdates": False,
                    "updateIntervalSeconds": 60,
                    "options": {"path": "$APPLIANCE_GRAFANA_DASHBOARDS", "foldersFromFilesStructure": False},
                }
            ],
        }
    )


def dumped(value: Json) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return HEAD + text
