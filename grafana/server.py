"""How a Grafana of the appliance is set, as the environment of its process: the demo's, and the box's by Ansible.

Whoever may look may send any statement that the reader may; so nothing is open that dashboards do not need. Nothing
leaves the machine unasked, and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping

# The first with the corrections of CVE-2026-27876 and CVE-2026-27880; what comes after 13 was not looked at.
LEAST, BELOW = (12, 4, 2), (14,)

CLOSED: Mapping[str, str] = {
    "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
    "GF_USERS_ALLOW_SIGN_UP": "false",
    "GF_USERS_VIEWERS_CAN_EDIT": "false",
    "GF_EXPLORE_ENABLED": "false",
    "GF_SNAPSHOTS_ENABLED": "false",
    "GF_PUBLIC_DASHBOARDS_ENABLED": "false",
    "GF_ANALYTICS_REPORTING_ENABLED": "false",
    "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    "GF_ANALYTICS_FEEDBACK_LINKS_ENABLED": "false",
    "GF_NEWS_NEWS_FEED_ENABLED": "false",
    "GF_SECURITY_DISABLE_GRAVATAR": "true",
    "GF_PLUGINS_PLUGIN_ADMIN_ENABLED": "false",
    "GF_PLUGINS_PREINSTALL_DISABLED": "true",
    "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED": "true",
}


def supported(version: str) -> bool:
    """Whether it is one that the dashboards were made for: ``13.2.3``, or with a word behind it."""
    digits = version.split("-")[0].split("+")[0].split(".")
    if not digits or not all(digit.isdigit() for digit in digits):
        return False
    return LEAST <= tuple(int(digit) for digit in digits) < BELOW
