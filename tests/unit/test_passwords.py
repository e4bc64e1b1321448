from __future__ import annotations

import unicodedata

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given
from hypothesis import strategies as st

from appliance import passwords

GOOD = "blaue Tonne am Tor"
OTHER_MARK = "$argon2id$v=19$m=1024,t=1,p=1$"


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "correct horse battery staple",
        "monkey dragon winter master tiger",
        "Tr0ub4dor&3xyz",
        "xK9v_mQ2-LpW",
        "пять синих лягушек",
        "    spaces count too    ",
    ],
)
def test_what_is_hard_to_guess_is_taken(password: str) -> None:
    assert passwords.fault(password, ("ann", "plant-7")) is None


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "Password2026!!!",
        "P@ssw0rd1234",
        "qwertyuiop12",
        "1q2w3e4r5t6y",
        "123456789012",
        "017612345678",
        "210987654321",
        "aaaaaaaaaaaa",
        "            ",
        "abcabcabcabc",
        "iloveyou2024!",
        "admin123admin123",
        "changeme1234",
        "ann-plant-7-ann",
        "monkey dragon winter master",
        "Plant-7!Plant-7!",
        "ｐａｓｓｗｏｒｄ１２３４",
    ],
)
def test_what_is_tried_first_is_refused_however_long_it_is(password: str) -> None:
    said = passwords.fault(password, ("ann", "plant-7"))
    assert said is not None
    assert "first" in said


@pytest.mark.parametrize(("password", "word"), [("", "short"), ("xK9v_mQ2-Lp", "short"), ("xK9v_mQ2-Lp" * 24, "long")])
def test_length_has_bounds(password: str, word: str) -> None:
    said = passwords.fault(password)
    assert said is not None
    assert word in said


def test_own_words_count_as_known() -> None:
    password = "kettenhausen-brigitte"
    assert passwords.fault(password) is None
    assert passwords.fault(password, ("brigitte", "kettenhausen")) is not None


def test_a_password_fits_its_own_hash_alone() -> None:
    kept = passwords.hashed(GOOD)
    assert passwords.fits(GOOD, kept)
    assert passwords.hashed(GOOD) != kept
    assert GOOD not in kept
    for wrong in ("", GOOD.lower(), GOOD + " ", GOOD + "\0", "x" * 100_000):
        assert not passwords.fits(wrong, kept)
    assert not passwords.fits(GOOD, None)


def test_a_long_password_is_not_cut_to_one_that_fits() -> None:
    longest = "xK9v_mQ2-LpW" * 21
    kept = passwords.hashed(longest)
    assert passwords.fits(longest, kept)
    assert not passwords.fits(longest + "x" * 100, kept)


def test_keyboards_may_write_a_letter_in_two_ways() -> None:
    assert passwords.fits("Tu\u0308rschloss 9 gelb", passwords.hashed("T\u00fcrschloss 9 gelb"))


def test_the_parameters_of_nobodys_hash_are_those_of_everybodys() -> None:
    assert passwords._nobodys().startswith(passwords._MARK)
    assert not passwords.outdated(passwords._nobodys())


def test_a_hash_of_other_parameters_still_fits_and_is_outdated() -> None:
    kdf = Argon2id(salt=b"0123456789abcdef", length=32, iterations=1, lanes=1, memory_cost=1024)
    kept = kdf.derive_phc_encoded(GOOD.encode())
    assert kept.startswith(OTHER_MARK)
    assert passwords.fits(GOOD, kept)
    assert passwords.outdated(kept)
    assert not passwords.outdated(passwords.hashed(GOOD))


@given(st.text(max_size=300), st.lists(st.text(max_size=20), max_size=3))
def test_any_text_is_judged_and_what_is_taken_is_long_enough(password: str, own: list[str]) -> None:
    said = passwords.fault(password, own)
    if said is None:
        assert passwords.SHORTEST <= len(unicodedata.normalize("NFKC", password)) <= passwords.LONGEST
    else:
        assert said.endswith(".")


@given(st.text(max_size=40), st.text(max_size=40))
def test_what_differs_after_normalizing_does_not_fit(one: str, other: str) -> None:
    same = unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other)
    kdf = Argon2id(salt=b"0123456789abcdef", length=32, iterations=1, lanes=1, memory_cost=64)
    kept = kdf.derive_phc_encoded(unicodedata.normalize("NFKC", one).encode())
    assert passwords.fits(other, kept) == same
