"""Ed25519 signatures: who may put a model on this box.

The private key signs on the machine that trains; a box trusts the public keys (``*.pub``, PEM) in its keys folder and
nothing else. A signature is the 64 raw bytes: text encodings of it would leave room for variants of the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from appliance import durable
from appliance.errors import BundleRefused, SettingError, UsageError

SIGNATURE_BYTES = 64
_LARGEST_KEY_FILE = 16 * 1024


def public_path(private: Path) -> Path:
    """Where the public half of a private key lies: ``signing.key`` -> ``signing.pub``."""
    return private.with_suffix(".pub")


def create_key(private: Path) -> None:
    """Write a new key pair: the private half readable by its owner alone, the public half next to it.

    UsageError where either exists already: a key is never overwritten.
    """
    public = public_path(private)
    if public == private:
        raise UsageError(
            f"{private} is the name of a public key.", "Name the private key otherwise, such as signing.key."
        )
    private.parent.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    open_half = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if private.exists():
        raise _there(private)
    try:
        # The public half first: a private one without it would sign models that its own box refuses.
        durable.write_new(public, open_half)
    except FileExistsError:
        raise _there(public) from None
    try:
        durable.write_new(private, secret, mode=0o600)
    except FileExistsError:
        public.unlink()
        raise _there(private) from None


def sign(private: Path, data: bytes) -> bytes:
    """The signature of ``data``; SettingError where the key cannot be used."""
    return _private_key(private).sign(data)


def public_key(private: Path) -> Ed25519PublicKey:
    """The public half of a private key; SettingError where the key cannot be used."""
    return _private_key(private).public_key()


def trusted_keys(folder: Path) -> list[Ed25519PublicKey]:
    """Every public key of a keys folder, none where there is no folder; SettingError for a file that is no such key."""
    return [_public_key(path) for path in sorted(folder.glob("*.pub"))] if folder.is_dir() else []


def verify(keys: Sequence[Ed25519PublicKey], data: bytes, signature: bytes) -> None:
    """BundleRefused("signature") unless one of the keys signed ``data``."""
    for key in keys:
        try:
            key.verify(signature, data)
        except InvalidSignature:
            continue
        return
    raise BundleRefused(
        "signature",
        "The model is not signed by a key that this box trusts." if keys else "This box trusts no key yet.",
        "Put the public key (*.pub) of whoever trained it into the keys folder, if you trust them.",
    )


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingError(f"{path} is no private key in PEM without a password.", "Name another with --key.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingError(f"{path} is no Ed25519 key.", "Name another with --key, or none to have one made.")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingError(f"{path} is no Ed25519 public key in PEM.", "Take the file out of the keys folder.")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_KEY_FILE)
    except OSError as error:
        raise SettingError(
            f"The key {path} cannot be read ({error.strerror}).", "Mend the path or its rights."
        ) from None


def _there(path: Path) -> UsageError:
    return UsageError(f"There is a key at {path} already.", "Keys are never overwritten: move it away or name another.")
