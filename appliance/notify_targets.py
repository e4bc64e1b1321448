"""The setting ``notify_targets``: who is told, and of what.

One Apprise URL a line, ``#`` starts a line of comment. Each may stand after ``alarm=``, ``quality=``, ``box=`` or a
list of these such as ``alarm,box=``; without, it is told everything. A URL is a secret as a whole: nothing here shows
more of it than its scheme and, where there surely is one, its host.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import get_args
from urllib.parse import urlsplit

from appliance.errors import SettingError
from appliance.notify_causes import Wish
from appliance.settings import Settings

ALL: frozenset[Wish] = frozenset(get_args(Wish))
USUAL = "workflows://, slack://, mailtos://, jsons://, tgram://, ntfys:// and discord://"
WAY_OUT = "docs/notify.md shows how each is written; `appliance notify test` tries them."

# What stands before the first '=' is a wish only where the URL has not begun yet: URLs have '=' of their own.
_LINE = re.compile(r"(?:(?P<wishes>[^=:/?#]*)=)?\s*(?P<url>(?P<scheme>[A-Za-z][A-Za-z0-9]{0,31})://\S.*)")
# Schemes whose host is the address of a server. For others, such as slack:// or tgram://, it is part of the secret.
_WITH_HOST = re.compile(r"https?|(apprise|form|gotify|json|mailto|mmost|ncloud|nctalk|signal|synology|workflow|xml)s?")
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+|localhost|[0-9a-f:]*:[0-9a-f:.]*")


@dataclass(frozen=True, slots=True)
class Target:
    """``line``: where it stands in the setting, from 1."""

    url: str = field(repr=False)
    wishes: frozenset[Wish]
    line: int

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0].lower()

    @property
    def digest(self) -> str:
        """Under what the database knows it: SHA-256 of the URL."""
        return hashlib.sha256(self.url.encode()).hexdigest()

    @property
    def label(self) -> str:
        """For people: scheme, host where it is one, and four digits by which two of a kind differ."""
        return f"{self.scheme}://{_host(self.url)} [{self.digest[:4]}]"

    def wrong(self, why: str) -> SettingError:
        """The error that names its line, and neither URL nor host."""
        return _wrong(self.line, self.scheme, why)


def read(settings: Settings) -> tuple[list[Target], list[SettingError]]:
    """The targets, in the order of their lines, and what is wrong with other lines: one does not spoil the rest."""
    text = settings.notify_targets.get_secret_value() if settings.notify_targets else ""
    found: dict[str, Target] = {}
    faults = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        try:
            target = _target(number, line)
        except SettingError as error:
            faults.append(error)
            continue
        before = found.get(target.url)
        found[target.url] = replace(before, wishes=before.wishes | target.wishes) if before else target
    return list(found.values()), faults


def _target(number: int, line: str) -> Target:
    match = _LINE.fullmatch(line)
    if match is None:
        raise _wrong(number, "", f"it is no address such as {USUAL}")
    wishes = ALL
    if match["wishes"] is not None:
        words = {word.strip().lower() for word in match["wishes"].split(",")}
        wishes = frozenset(wish for wish in ALL if wish in words)
        if wishes != words:
            raise _wrong(number, match["scheme"], "before '=' may stand alarm, quality and box, with commas between")
    return Target(match["url"], wishes, number)


def _wrong(number: int, scheme: str, why: str) -> SettingError:
    where = f"Line {number} of notify_targets{f' ({scheme.lower()}://)' if scheme else ''}"
    return SettingError(f"{where}: {why}.", WAY_OUT)


def _host(url: str) -> str:
    """Its host, '' where it may be anything else: an unescaped '/' in a password makes urlsplit take it for one."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    doubtful = "@" in parts.path or ("@" not in parts.netloc and "@" in url)
    if doubtful or not _WITH_HOST.fullmatch(parts.scheme.lower()) or not _HOST.fullmatch(host):
        return ""
    return host
