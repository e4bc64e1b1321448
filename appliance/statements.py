"""What a box states of what it copied, signed by a key that only this box has: manifests of the bucket and of backups."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance import signing
from appliance.errors import BundleRefused
from appliance.settings import Settings

KEY = "audit.key"


def public_key(settings: Settings) -> Ed25519PublicKey:
    """Whose signature manifests of this box bear; the key is made when it is first needed."""
    return signing.public_key(_key(settings))


def opened(data: bytes, key: Ed25519PublicKey) -> dict[str, Any]:
    """What a manifest says; ValueError where it is none that this key signed."""
    try:
        whole = json.loads(data)
        said: dict[str, Any] = whole["manifest"]
        signing.verify([key], _canonical(said), base64.b64decode(whole["signature"]))
    except (ValueError, KeyError, TypeError, BundleRefused):
        raise ValueError("it was not signed by this key") from None
    return said


def claimed(data: bytes) -> Ed25519PublicKey:
    """The key that a manifest says it was signed by, which proves nothing alone; ValueError where it says none."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(json.loads(data)["public_key"]))
    except (ValueError, KeyError, TypeError):
        raise ValueError("it names no key that signed it") from None


def envelope(settings: Settings, said: Mapping[str, Any]) -> bytes:
    """What this box states, with its signature and the key that it is checked against."""
    private = _key(settings)
    signature = signing.sign(private, _canonical(said))
    public = signing.public_key(private).public_bytes_raw()
    whole = {
        "manifest": said,
        "public_key": base64.b64encode(public).decode(),
        "signature": base64.b64encode(signature).decode(),
    }
    return json.dumps(whole, indent=1).encode()


def _canonical(said: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: the same for the same content, however it was laid out."""
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def _key(settings: Settings) -> Path:
    private = settings.outbox / KEY
    if not private.exists():
        signing.create_key(private)
    return private
