"""What a backup holds beside databases: models, profiles, public keys and settings; and secrets, for the owner's eyes."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyrage

from appliance import statements
from appliance.errors import BackupTrouble, SettingError
from appliance.settings import Settings, config_path, secrets_folder

FILES, SECRETS = "files.tar", "secrets.age"
MODELS, PROFILES, KEYS, CONFIG = "models", "profiles", "keys", "appliance.toml"
# systemd's LoadCredential=secrets:FOLDER makes a file of this name for each that is in the folder.
_LOADED = "secrets_"


def write_files(settings: Settings, target: Path) -> None:
    """Models with what says which of them serves, profiles, the public keys, and the settings file."""
    with target.open("xb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, path in sorted(_files(settings)):
                with suppress(FileNotFoundError):  # a model that was removed just now
                    tar.add(path, name, recursive=False, filter=_as_nobody)
        file.flush()
        os.fsync(file.fileno())


def files_bytes(settings: Settings) -> int:
    size = 0
    for _, path in _files(settings):
        with suppress(FileNotFoundError):
            size += path.stat().st_size + 1_024
    return size


def write_secrets(settings: Settings, target: Path) -> bool:
    """All secrets of this box, encrypted to the owner's key; False, and nothing written, where no key is set."""
    if settings.backup_recipient is None:
        return False
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, path in sorted(_secrets(settings)):
            data = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            tar.addfile(entry, io.BytesIO(data))
    sealed = pyrage.encrypt(packed.getvalue(), [recipient(settings.backup_recipient)])
    with target.open("xb") as file:
        file.write(sealed)
        file.flush()
        os.fsync(file.fileno())
    return True


def open_secrets(sealed: bytes, identity: Path) -> dict[str, bytes]:
    """The secrets by their names; BackupTrouble where that key does not open them."""
    try:
        plain = pyrage.decrypt(sealed, _identities(identity))
    except pyrage.DecryptError:
        raise BackupTrouble(
            "key",
            f"The key in {identity} does not open the secrets of this backup.",
            "Name the owner's private key with --identity, or leave it out: the box keeps the secrets that it has.",
        ) from None
    found = {}
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        for entry in tar:
            if entry.isfile() and (file := tar.extractfile(entry)) is not None:
                found[entry.name] = file.read()
    return found


def recipient(said: str) -> pyrage.x25519.Recipient | pyrage.ssh.Recipient:
    """SettingError where it is no public key."""
    try:
        if said.startswith("age1"):
            return pyrage.x25519.Recipient.from_str(said)
        return pyrage.ssh.Recipient.from_str(said)
    except pyrage.RecipientError:
        raise SettingError(
            "backup_recipient is no public key of age or SSH.", "`age-keygen` makes one; docs/backup.md shows how."
        ) from None


def _identities(path: Path) -> list[pyrage.x25519.Identity | pyrage.ssh.Identity]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BackupTrouble("key", f"The key {path} cannot be read ({error.strerror}).", "Mend the path.") from None
    try:
        if b"PRIVATE KEY-----" in data:
            return [pyrage.ssh.Identity.from_buffer(data)]
        lines = [line.strip() for line in data.decode().splitlines()]
        return [pyrage.x25519.Identity.from_str(line) for line in lines if line.startswith("AGE-SECRET-KEY-")]
    except (pyrage.IdentityError, UnicodeDecodeError):
        raise BackupTrouble("key", f"{path} is no private key of age or SSH.", "Name the owner's key.") from None


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    folders = {MODELS: settings.models, KEYS: settings.keys}
    if settings.profiles_dir is not None:
        folders[PROFILES] = settings.profiles_dir
    for name, folder in folders.items():
        for path in _plain(folder):
            if name != KEYS or path.suffix == ".pub":
                yield f"{name}/{path.relative_to(folder)}", path
    if (config := config_path()) is not None:
        yield CONFIG, config


def _secrets(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Those of the secrets folder as ``secrets/NAME``, and the keys that the box made for itself."""
    folder = secrets_folder()
    if folder is not None:
        loaded = [path for path in folder.iterdir() if path.name.startswith(_LOADED)]
        for path in loaded or folder.iterdir():
            if path.is_file() and not path.name.endswith(".new"):
                yield f"secrets/{path.name.removeprefix(_LOADED)}", path
    own = (settings.outbox / statements.KEY, settings.outbox / f"{Path(statements.KEY).stem}.pub")
    yield from ((f"outbox/{path.name}", path) for path in own if path.is_file())
    if os.access(settings.private_key, os.R_OK):
        yield f"keys/{settings.private_key.name}", settings.private_key
    with suppress(PermissionError):
        yield from ((f"airflow/{path.name}", path) for path in _plain(settings.airflow / "secrets"))


def _plain(folder: Path) -> Iterator[Path]:
    """Files below a folder, without what is being written, and without links."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and not path.is_symlink():
            yield path


def _as_nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
