"""The process that talks to targets: ``python -m appliance.notify_child``, one JSON object a line in and out.

Apprise lives here and nowhere else. It loads a hundred and fifty services at its first use, keeps no time limit that
holds, and logs addresses with their secrets; in a process of its own it weighs on nobody, is ended when time is out,
and what it logs goes nowhere.

In: ``{"id", "url", "title", "body", "tone"}``, or ``{"id", "url"}`` to have the URL looked at alone. Out: ``{"id",
"error"}``, where null is "delivered" or "can be read". The end of the input ends the process at once.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO

from appliance import notify_words
from appliance.notify_reasons import sentence
from appliance.notify_targets import USUAL

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyBase

CONNECT_SECONDS = 10.0
# Apprise waits four seconds, which a workflow in a cloud may well need: what it took and we gave up comes twice.
ANSWER_SECONDS = 20.0
# Below this a service is a short message that costs money: its end is cut off, not sent as a second one.
SHORT = 500


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # A service that prints must not write into our answers.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    lock = threading.Lock()
    for line in sys.stdin:
        # One thread each: a target that hangs holds up no other.
        threading.Thread(target=_work, args=(json.loads(line), answers, lock), daemon=True).start()
    os._exit(0)


def _work(job: dict[str, Any], answers: TextIO, lock: threading.Lock) -> None:
    try:
        error = deliver(job["url"], job["title"], job["body"], job["tone"]) if "body" in job else look(job["url"])
    except Exception as failure:
        error = sentence([("ERROR", f"{type(failure).__name__}: {failure}")], job["url"])
    with lock:
        answers.write(json.dumps({"id": job["id"], "error": error}) + "\n")
        answers.flush()


def look(url: str) -> str | None:
    """What is wrong with the URL, as half a sentence without any piece of it; None where it can be used."""
    return None if _service(url) is not None else _unreadable(url)


def deliver(url: str, title: str, body: str, tone: str) -> str | None:
    """Send one message; None where the service took it, else the reason."""
    from apprise import Apprise, NotifyFormat, NotifyType

    service = _service(url)
    if service is None:
        return f"The address cannot be used: {_unreadable(url)}."
    _temper(service)
    form = NotifyFormat.TEXT
    if service.resolve_format(form) == NotifyFormat.MARKDOWN:
        # Apprise would escape every dot, in links too, and leave line ends that such services take for spaces.
        form, body = NotifyFormat.MARKDOWN, notify_words.markdown(body)
        title = title if _has_plain_title(service) else notify_words.markdown(title)
    sender = Apprise(asset=service.asset)
    sender.add(service)
    result = sender.notify(
        body=body,
        title=title,
        notify_type=NotifyType(tone),
        body_format=form,
        log_level=logging.DEBUG,
    )
    if result:
        return None
    return sentence([(entry.level, entry.message) for entry in result.logs()], url)


def asset() -> AppriseAsset:
    """How Apprise shall behave: nothing on disk, no picture from elsewhere, no detour, nothing made of our words."""
    from apprise import AppriseAsset

    return AppriseAsset(
        app_id="Failure appliance",
        app_desc="Failure appliance",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        storage_mode="memory",
        pgp_autogen=False,
        pem_autogen=False,
        http_redirects=False,
        interpret_emojis=False,
        interpret_escapes=False,
        allow_templates=False,
        async_mode=False,
        service_timeout=0,
    )


def _service(url: str) -> NotifyBase | None:
    from apprise import Apprise
    from apprise.logger import logger

    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return Apprise.instantiate(url, asset=asset())


def _unreadable(url: str) -> str:
    from apprise import plugins

    scheme = url.partition("://")[0].lower()
    if scheme in ("http", "https"):
        return "this is the address of no known service; a webhook of your own is written json:// or jsons://"
    if scheme not in plugins.N_MGR:
        return f"there is no such service; usual are {USUAL}"
    if not plugins.N_MGR[scheme].enabled:
        return "this service needs a library that is not installed"
    return "something is missing in it, or written wrongly"


def _temper(service: NotifyBase) -> None:
    """What the URL leaves open, or may not decide: tries are counted by us, and a failure is a failure."""
    service.retry = 0
    service.optional = False
    said = vars(service)
    if "socket_connect_timeout" not in said:
        service.socket_connect_timeout = CONNECT_SECONDS
    if "socket_read_timeout" not in said:
        service.socket_read_timeout = ANSWER_SECONDS
    if "overflow_mode" not in said:
        service.overflow_mode = _overflow(service)


def _has_plain_title(service: NotifyBase) -> bool:
    return service.title_maxlen > 0 and not _is_teams(service)


def _is_teams(service: NotifyBase) -> bool:
    return str(service.schema).startswith("workflow")


def _overflow(service: NotifyBase) -> Any:
    from apprise import OverflowMode

    if _is_teams(service):
        # Teams takes 28 KiB; the thousand characters are Apprise's caution, and would make two cards of a digest.
        return OverflowMode.UPSTREAM
    return OverflowMode.TRUNCATE if service.body_maxlen < SHORT else OverflowMode.SPLIT


if __name__ == "__main__":
    main()
