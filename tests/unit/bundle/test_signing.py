"""Keys are made once, kept private, and decide alone whom a box trusts."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from appliance import signing
from appliance.errors import BundleRefused, SettingError, UsageError


def test_a_new_key_is_private_and_its_public_half_lies_beside_it(tmp_path: Path) -> None:
    private = tmp_path / "deep" / "signing.key"
    signing.create_key(private)
    assert private.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in private.parent.iterdir()) == ["signing.key", "signing.pub"]
    signing.verify(signing.trusted_keys(private.parent), b"data", signing.sign(private, b"data"))


@pytest.mark.parametrize("there", ["signing.key", "signing.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(UsageError):
        signing.create_key(tmp_path / "signing.key")
    assert [p.name for p in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_private_key_that_would_be_its_own_public_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        signing.create_key(tmp_path / "mine.pub")
    assert not list(tmp_path.iterdir())


@given(data=st.binary(max_size=200), place=st.integers(0, 63), change=st.integers(1, 255))
def test_another_signature_or_other_data_is_refused(key: Path, data: bytes, place: int, change: int) -> None:
    keys = [signing.public_key(key)]
    signature = bytearray(signing.sign(key, data))
    signing.verify(keys, data, bytes(signature))
    with pytest.raises(BundleRefused):
        signing.verify(keys, data + b"\0", bytes(signature))
    signature[place] ^= change
    with pytest.raises(BundleRefused):
        signing.verify(keys, data, bytes(signature))


def test_any_of_several_keys_will_do(tmp_path: Path, key: Path) -> None:
    for name in ("a", "b"):
        signing.create_key(tmp_path / f"{name}.key")
    keys = [signing.public_key(tmp_path / "a.key"), signing.public_key(key), signing.public_key(tmp_path / "b.key")]
    signing.verify(keys, b"data", signing.sign(key, b"data"))
    assert len(signing.trusted_keys(tmp_path)) == 2


def test_no_folder_means_no_trust(tmp_path: Path) -> None:
    assert signing.trusted_keys(tmp_path / "nowhere") == []
    with pytest.raises(BundleRefused):
        signing.verify([], b"data", b"")


def _rsa(path: Path) -> None:
    rsa = generate_private_key(65537, 2048)
    path.write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing.public_path(path).write_bytes(public)


def _text(path: Path) -> None:
    path.write_text("-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----\n")
    signing.public_path(path).write_text("ssh-ed25519 AAAA")


def _folder(path: Path) -> None:
    path.mkdir()
    signing.public_path(path).mkdir()


@pytest.mark.parametrize("make", [_rsa, _text, _folder])
def test_what_is_no_such_key_is_named(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "odd.key")
    with pytest.raises(SettingError) as caught:
        signing.sign(tmp_path / "odd.key", b"data")
    assert "odd.key" in caught.value.message
    with pytest.raises(SettingError) as caught:
        signing.trusted_keys(tmp_path)
    assert "odd.pub" in caught.value.message
