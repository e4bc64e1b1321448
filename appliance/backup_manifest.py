"""What a backup says of itself: its files with their hashes, and what each database held when it was made."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance import statements
from appliance.errors import BackupTrouble
from appliance.settings import Settings
from appliance.store.dump import Rows, Snapshot

FORMAT = 1
FILE = "manifest.json"


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of a backup."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """``databases``: by name, each in the file NAME.dump. ``recipient``: whose key opens the secrets, '' where there are
    none."""

    name: str
    site: str
    made_at: datetime
    release: str
    recipient: str
    pieces: tuple[Piece, ...]
    databases: Mapping[str, Snapshot]

    @property
    def bytes(self) -> int:
        return sum(piece.bytes for piece in self.pieces)

    @property
    def revision(self) -> str:
        return self.databases["appliance"].revision

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.databases["appliance"].tables.values())

    def as_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "backup": self.name,
            "site": self.site,
            "made_at": self.made_at.isoformat(),
            "release": self.release,
            "recipient": self.recipient,
            "files": [asdict(piece) for piece in self.pieces],
            "databases": {name: asdict(seen) for name, seen in self.databases.items()},
        }


@dataclass(frozen=True, slots=True)
class Read:
    """A manifest as it lies somewhere: what it says, its own SHA-256, and whose signature it bears."""

    manifest: Manifest
    sha256: str
    signer: Ed25519PublicKey

    @property
    def signed_by(self) -> str:
        return base64.b64encode(self.signer.public_bytes_raw()).decode()


def written(settings: Settings, manifest: Manifest) -> bytes:
    return statements.envelope(settings, manifest.as_dict())


def read(data: bytes, name: str) -> Read:
    """BackupTrouble where it is none, its signature does not fit, or it is of a format that a later release made.

    Who signed it is for the caller to judge: on the box that made it that is the box's own key.
    """
    try:
        signer = statements.claimed(data)
        said = statements.opened(data, signer)
        if int(said["format"]) > FORMAT:
            raise BackupTrouble(
                "version",
                f"{name} was made by a later release ({said['release']}).",
                "Install that release first, then restore.",
            )
        manifest = Manifest(
            name=str(said["backup"]),
            site=str(said["site"]),
            made_at=datetime.fromisoformat(said["made_at"]),
            release=str(said["release"]),
            recipient=str(said["recipient"]),
            pieces=tuple(Piece(str(one["name"]), int(one["bytes"]), str(one["sha256"])) for one in said["files"]),
            databases={name: _snapshot(seen) for name, seen in said["databases"].items()},
        )
        # Names become paths.
        if any(not _is_plain(piece.name) for piece in manifest.pieces) or not _is_plain(manifest.name):
            raise ValueError("a name is none")
        if "appliance" not in manifest.databases:
            raise ValueError("it holds no database")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BackupTrouble(
            "damaged", f"The manifest of {name} cannot be read, or is not as it was signed.", "Take another backup."
        ) from None
    return Read(manifest, hashlib.sha256(data).hexdigest(), signer)


def _is_plain(name: str) -> bool:
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name


def _snapshot(said: Mapping[str, Any]) -> Snapshot:
    tables = {name: Rows(**rows) for name, rows in said["tables"].items()}
    return Snapshot(int(said["postgres"]), str(said["revision"]), int(said["size"]), tables)
