"""Reasons of failures, from what libraries log: usable, and without any piece of the address."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.notify_reasons import LENGTH, sentence

URL = "slack://T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX/#night"
POOL = "HTTPSConnectionPool(host='hooks.example', port=443): Max retries exceeded with url: /services/T00000000 (Caused by "


@pytest.mark.parametrize(
    ("level", "words", "said"),
    [
        ("WARNING", "Failed to send JSON POST notification: Page not found., error=404.", "404 Not Found"),
        ("WARNING", "Failed to send to Slack: error=429.", "429 Too Many Requests: it takes no more messages for now"),
        ("WARNING", "Failed: error=599.", "It answered 599: it has a fault of its own."),
        ("DEBUG", POOL + "NameResolutionError(... [Errno -3] Temporary failure in name resolution))", "host name"),
        ("DEBUG", POOL + "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]')))", "certificate"),
        ("DEBUG", POOL + "SSLError(1, '[SSL: WRONG_VERSION_NUMBER]'))", "No encrypted connection"),
        ("DEBUG", POOL + "ProxyError('Unable to connect to proxy', NewConnectionError(... refused)))", "proxy"),
        (
            "DEBUG",
            POOL + "ConnectTimeoutError(connection to hooks.example timed out. (connect timeout=4.0)))",
            "in time",
        ),
        ("DEBUG", "Socket Exception: [Errno 101] Network is unreachable", "no way to its network"),
        ("DEBUG", "Socket Exception: (535, b'5.7.8 authentication failed')", "refused the login (535)"),
        ("DEBUG", "Socket Exception: (554, b'spam')", "refused the message (554)"),
        ("WARNING", "SMTP recipient night@example.com was refused: 550 b'no'", "refused the recipient (550)"),
        ("WARNING", "Something odd\r\nhappened", "Something odd happened"),
        ("DEBUG", "nothing that helps", "does not say why"),
    ],
)
def test_what_is_logged_becomes_a_sentence(level: str, words: str, said: str) -> None:
    lines = [("DEBUG", "Response Details:\r\nConnection refused error=200"), (level, words)]
    found = sentence(lines, URL)
    assert said in found
    assert "T00000000" not in found


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40),
    st.text(max_size=60),
    st.text(max_size=200),
)
def test_no_piece_of_the_address_is_repeated(secret: str, before: str, after: str) -> None:
    word = "".join(c for c in secret if c.isalnum())
    url = f"jsons://user:{quote(secret, safe='')}@hooks.example/{word}?token={word}"
    for form in (url, f"/{word}", f"token {word}!", f"user:{quote(secret, safe='')}@"):
        found = sentence([("WARNING", f"{before} {form} {after}")], url)
        assert len(found) <= max(LENGTH, 120)
        assert "\n" not in found
        if len(word) >= 8 and word not in before + after:
            assert word not in found
