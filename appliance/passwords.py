"""Passwords: which are taken, how they are kept, and a check that takes as long for nobody's as for somebody's.

Argon2id (RFC 9106) comes with the library that verifies our signatures, so it costs no further dependency. One check
takes 32 MiB and some 60 ms of one core: dear for a thief of the database, bearable on a small box that allows one at a
time.
"""

from __future__ import annotations

import os
import re
import secrets
import unicodedata
from collections.abc import Iterable
from functools import cache

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

SHORTEST = 12
LONGEST = 256
# A password of fewer pieces than this is guessed early, however long it is: "Password2026!!!" has three.
_FEWEST_PIECES = 6

_MEMORY_KIB = 32 * 1024
_PASSES = 3
_LANES = 1
_MARK = f"$argon2id$v=19$m={_MEMORY_KIB},t={_PASSES},p={_LANES}$"

# Words that lists of leaked passwords are full of, in the languages of many plants; those of a factory besides.
_COMMON = """
abc access account admin administrator airflow alarm alexander amanda angel anna anthony apple appliance ashley august
austin autumn azerty bailey banana baseball batman biteme blink bonjour box britney buster butter camera canada changeme
changeit charlie cheese chelsea chicken chocolate christian computer contrasena cookie daniel database default demo
dennis diamond dragon einstein elephant engineer engineering enter factory fabrik failure family ferrari flower football
forever frankfurt freedom friend fuckyou gandalf george ginger golden google grafana guest hallo hammer hannah harley
heaven hello herbst hockey hunter iceman iloveyou internet jackson jasmine jennifer jessica jesus jordan joshua justin
killer kommissar letmein liverpool local login london love lovely maggie maintenance manager marina martin master
matrix matthew melissa merlin michael michelle milling monkey monster motdepasse mustang nicole ninja nothing
november october operator orange parola pass passe passwd passwort password patrick peanut pepper phoenix plant
postgres prince princess production pumpe pump purple qazwsx qwerty qwertz rainbow ranger robert root samsung schalke
schatz secret september service sesame shadow silver sommer soccer sophie spring starwars station steelers streamlit
success summer sunflower sunshine superman superuser support system tigger test thomas thunder trustno whatever
viewer welcome werk wachtwoord willkommen william winter wizard yellow zaq
""".split()  # noqa: SIM905 - read as a text, not as a column of quotes
# Keys side by side, and what one counts or spells.
_ROWS = (
    "01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm",
    "yxcvbnm", "wxcvbn", "1qaz2wsx3edc4rfv5tgb6yhn", "q1w2e3r4t5y6u7i8o9p0", "1q2w3e4r5t6y7u8i9o0p", "!@#$%^&*()", "!\"§$%&/()=",
)  # fmt: skip
_RUNS = tuple(_ROWS) + tuple(row[::-1] for row in _ROWS)
_DISGUISES = str.maketrans("013457$@!|", "oleastsail")


def fault(password: str, own_words: Iterable[str] = ()) -> str | None:
    """What is wrong with a new password, in a sentence; None where it is taken.

    Length counts, and whether it is among the first to be tried; nobody is asked for a digit and a capital.
    ``own_words``: what a guesser would know, as the name of the user or the plant.
    """
    text = _normal(password)
    if len(text) < SHORTEST:
        return f"The password is too short: take at least {SHORTEST} characters, for example four words of your own."
    if len(text) > LONGEST:
        return f"The password is too long: take at most {LONGEST} characters."
    if _pieces(text.casefold(), own_words) < _FEWEST_PIECES:
        return "That password is among the first that are tried: take another, for example four words of your own."
    return None


def hashed(password: str) -> str:
    """What is kept of a password: a salted hash with its parameters (PHC string)."""
    kdf = Argon2id(salt=os.urandom(16), length=32, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB)
    return kdf.derive_phc_encoded(_normal(password).encode())


def fits(password: str, kept: str | None) -> bool:
    """Whether that is the password. Without ``kept`` (no such user, none chosen yet) the same work is done for nothing."""
    try:
        Argon2id.verify_phc_encoded(_normal(password)[: LONGEST + 1].encode(), kept or _nobodys())
    except InvalidKey:
        return False
    return kept is not None


def outdated(kept: str) -> bool:
    """Whether a hash was made with other parameters than today's, and is to be made anew at the next sign-in."""
    return not kept.startswith(_MARK)


@cache
def _nobodys() -> str:
    return hashed(secrets.token_hex())


def _normal(password: str) -> str:
    """The same text whichever keyboard wrote it. Lone surrogates, which no form sends, become question marks."""
    return unicodedata.normalize("NFKC", password.encode("utf-8", "replace").decode())


def _pieces(text: str, own_words: Iterable[str]) -> int:
    """How many things one has to guess: words that all know, runs of keys and numbers count as one, once."""
    own = {word for name in own_words for word in re.split(r"[\W_]+", name.casefold()) if len(word) > 2}
    words = sorted({*_COMMON, *own}, key=len, reverse=True)
    plain = text.translate(_DISGUISES)
    at, single, known = 0, 0, set()
    while at < len(text):
        size = max(
            1,
            next((len(word) for word in words if text.startswith(word, at) or plain.startswith(word, at)), 0),
            _run(text, at),
            _number(text, at),
            _repeated(text, at),
        )
        piece = text[at : at + size]
        at += size
        if piece.isalnum() and size == 1:
            single += 1
        elif piece not in text[: at - size]:
            known.add(piece)
    return single + len(known)


def _run(text: str, at: int) -> int:
    """How many keys side by side, or signs in their order, from there on; at least three count."""
    size = 0
    while at + size < len(text) and any(text[at : at + size + 1] in row for row in _RUNS):
        size += 1
    return size if size >= 3 else 0


def _number(text: str, at: int) -> int:
    """A year or a day: up to four digits."""
    found = re.compile(r"[0-9]{1,4}").match(text, at)
    return len(found[0]) if found else 0


def _repeated(text: str, at: int) -> int:
    """What stood before already: the same character again, or a part of three and more."""
    size = len(text) - at
    while size >= 3 and text[at : at + size] not in text[:at]:
        size -= 1
    return size if size >= 3 else len(text) - at - len(text[at:].lstrip(text[at]))
