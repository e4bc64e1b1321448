"""Whom Grafana tells: the appliance's own API, which sends people what it is told as it sends everything else.

So there is one place where it is set who is told of what, how often, and one list of what was sent: docs/notify.md. The
token comes from the environment of Grafana's service, as it is or as ``$__file{/a/path}``; only in braces is that read.
"""

from __future__ import annotations

from grafana.parts import Json
from grafana.provisioning import dumped

NAME = "Appliance"


def contact_points() -> str:
    return dumped(
        {
            "apiVersion": 1,
            "contactPoints": [
                {
                    "orgId": 1,
                    "name": NAME,
                    "receivers": [
                        {
                            "uid": "appliance",
                            "type": "webhook",
                            "settings": {
                                "url": "${APPLIANCE_GRAFANA_ALERTS_URL}",
                                "httpMethod": "POST",
                                "authorization_scheme": "Bearer",
                                "authorization_credentials": "${APPLIANCE_GRAFANA_ALERTS_TOKEN}",
                            },
                            "disableResolveMessage": False,
                        }
                    ],
                }
            ],
        }
    )


def routing() -> Json:
    """Said at each rule, so that the owner's own tree of policies stays as it is.

    The appliance groups and limits by itself, and takes a repetition for what it is.
    """
    return {
        "receiver": NAME,
        "group_by": ["grafana_folder", "alertname"],
        "group_wait": "10s",
        "group_interval": "1m",
        "repeat_interval": "12h",
    }
