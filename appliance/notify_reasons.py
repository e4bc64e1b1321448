"""Why a message did not get through, in one sentence without any piece of the address. Pure.

Apprise gives no reason but writes it to its log, in the words of whatever library failed, and these repeat the URL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import unquote

from appliance.names import printable

LENGTH = 160
NO_ANSWER = "It did not answer in time."

# Response bodies are the words of strangers: nothing is concluded from them.
_BODY = "Response Details"
_STATUS = re.compile(r"\berror=(\d{3})\b")
_REFUSED = re.compile(r"\bwas refused: (\d{3})\b")
_SMTP = re.compile(r"\((\d{3}), b['\"]")
_HINTS = {
    400: "what it got is not what it expects",
    401: "the address or its token is not valid",
    403: "the address or its token is not valid",
    404: "there is no such address any more",
    410: "there is no such address any more",
    413: "the message is too long for it",
    429: "it takes no more messages for now",
}
_LOGIN = (530, 534, 535, 538)
# The first that is found counts, so what explains more stands first.
_KNOWN = (
    (r"ProxyError|Unable to connect to proxy|Tunnel connection failed", "The proxy that the environment names failed."),
    (r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", "Its certificate is not trusted on this box."),
    (r"NameResolution|Failed to resolve|Name or service not known|name resolution|nodename nor servname|getaddrinfo",
     "Its host name is not known here: no network, no name server, or a typing error."),
    (r"Network is unreachable|No route to host", "There is no way to its network."),
    (r"Connection refused", "Nothing listens there (connection refused)."),
    (r"timed out|[Tt]imeout", NO_ANSWER),
    (r"RemoteDisconnected|Connection aborted|reset by peer|[Cc]onnection unexpectedly closed|EOF occurred|Broken pipe",
     "It closed the connection without an answer."),
    (r"SSLError|\[SSL|STARTTLS", "No encrypted connection could be made."),
    (r"TooManyRedirects", "It sends to other addresses in a circle."),
)  # fmt: skip


def sentence(lines: Sequence[tuple[str, str]], url: str) -> str:
    """``lines``: (level, words) as Apprise logged them while it sent to ``url``."""
    told = [(level, words) for level, words in lines if not words.startswith(_BODY)]
    text = "\n".join(words for _, words in told)
    if found := _STATUS.search(text):
        return _answered(int(found[1]))
    if found := _REFUSED.search(text):
        return f"The mail server refused the recipient ({found[1]})."
    if found := _SMTP.search(text):
        code = int(found[1])
        return f"The mail server refused {'the login' if code in _LOGIN else 'the message'} ({code})."
    for pattern, said in _KNOWN:
        if re.search(pattern, text):
            return said
    for level, words in told:
        if level in ("WARNING", "ERROR", "CRITICAL"):
            return without_secrets(words, url)
    return "Apprise could not send it, and does not say why."


def without_secrets(words: str, url: str) -> str:
    """``words`` on one line, with every longer piece of the URL taken out."""
    shown = " ".join(printable(words.replace("\r", " ").replace("\n", " ")).split())
    rest = url.partition("://")[2]
    pieces = {piece for form in (rest, unquote(rest)) for piece in re.split(r"[^A-Za-z0-9_.~-]+|(?<=\w)-(?=\w)", form)}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= 4:
            shown = shown.replace(piece, "…")
    return shown if len(shown) <= LENGTH else f"{shown[: LENGTH - 1]}…"


def _answered(code: int) -> str:
    try:
        name = f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        name = str(code)
    if 300 <= code < 400:
        return f"It answered {name}: the address leads elsewhere; write the one that it leads to."
    hint = _HINTS.get(code, "it has a fault of its own" if code >= 500 else "")
    return f"It answered {name}{f': {hint}' if hint else ''}."
