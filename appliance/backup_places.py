"""Where backups lie: a folder, which may have to be a mounted disk, or the bucket. A backup is there whole, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from appliance import backup_manifest, bucket, durable
from appliance.backup_manifest import Piece
from appliance.errors import BackupTrouble, BucketTrouble, SettingError
from appliance.outbox_send import MIB, confirmed, digest_of
from appliance.settings import Settings

_BLOCK = 1 << 20


class Place(Protocol):
    """``name``: as the ledger keeps it."""

    name: str

    def ready(self) -> None:
        """BackupTrouble where nothing can be put there now."""

    def disk(self) -> Path:
        """A folder on the disk that a backup being made takes room of."""

    def names(self) -> list[str]:
        """Backups that are there whole."""

    def manifest(self, name: str) -> bytes:
        """BackupTrouble("gone") where there is none."""

    def blocks(self, name: str, file: str) -> Iterator[bytes]: ...

    def making(self) -> AbstractContextManager[Path]:
        """An empty folder to make a backup in; what is left of it goes at the end."""

    def keep(self, folder: Path, name: str) -> None:
        """Have what was made there whole and durably, under that name."""

    def here(self, name: str) -> AbstractContextManager[Path]:
        """The backup as a folder on this machine."""

    def remove(self, name: str) -> None: ...


def of(settings: Settings) -> Place:
    """The place that the settings name; SettingError where they name none."""
    match settings.backup_to:
        case None:
            raise SettingError("No place for backups is set.", "Set backup_to; docs/backup.md shows how.")
        case "s3":
            return InBucket(settings)
        case folder:
            return InFolder(Path(folder), settings.backup_mount)


class InFolder:
    def __init__(self, folder: Path, mount: Path | None = None) -> None:
        self.name = str(folder)
        self._folder, self._mount = folder, mount

    def ready(self) -> None:
        if self._mount is not None:
            self._demand_mount(self._mount)
            with suppress(OSError):
                self._folder.mkdir(mode=0o700, exist_ok=True)
        if not self._folder.is_dir():
            raise BackupTrouble(
                "place",
                f"There is no folder {self._folder} for backups.",
                "Make it, for the user appliance to write to, or mend backup_to.",
            )

    def disk(self) -> Path:
        return self._folder

    def names(self) -> list[str]:
        if self._mount is not None:
            self._demand_mount(self._mount)
        if not self._folder.is_dir():
            return []
        return sorted(path.parent.name for path in self._folder.glob(f"[!.]*/{backup_manifest.FILE}"))

    def manifest(self, name: str) -> bytes:
        try:
            return (self._folder / name / backup_manifest.FILE).read_bytes()
        except OSError:
            raise _gone(name, self.name) from None

    def blocks(self, name: str, file: str) -> Iterator[bytes]:
        yield from blocks_of(self._folder / name / file)

    @contextmanager
    def making(self) -> Iterator[Path]:
        with durable.workspace(self._folder) as folder:
            folder.chmod(0o700)
            yield folder

    def keep(self, folder: Path, name: str) -> None:
        durable.sync_folder(folder)
        folder.rename(self._folder / name)
        durable.sync_folder(self._folder)

    @contextmanager
    def here(self, name: str) -> Iterator[Path]:
        yield self._folder / name

    def remove(self, name: str) -> None:
        # Under a name that is none of a backup, so that a kill leaves no half of one.
        doomed = self._folder / f".new-removed-{name}"
        with suppress(FileNotFoundError):
            (self._folder / name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        durable.sync_folder(self._folder)

    def _demand_mount(self, mount: Path) -> None:
        """A disk that is not there must not have its backups written onto the one below its mount point."""
        try:
            is_mounted = mount.stat().st_dev != mount.parent.stat().st_dev
        except OSError:
            is_mounted = False
        if not is_mounted:
            raise BackupTrouble("place", f"Nothing is mounted at {mount}.", "Plug the disk in and mount it there.")
        if not self._folder.is_relative_to(mount):
            raise SettingError(f"backup_to is not below backup_mount ({mount}).", "Mend one of both.")


class InBucket:
    def __init__(self, settings: Settings) -> None:
        self.name = bucket.place(settings) if settings.s3_bucket else ""
        self._settings = settings
        self._bucket = bucket.Bucket(settings)
        self._prefix = f"{settings.s3_prefix}_backup/site={settings.site}/"

    def ready(self) -> None:
        self._settings.backups.mkdir(mode=0o700, parents=True, exist_ok=True)

    def disk(self) -> Path:
        return self._settings.backups

    def names(self) -> list[str]:
        end = f"/{backup_manifest.FILE}"
        keys = [listed.key for listed in self._bucket.objects(self._prefix)]
        return sorted(key.removeprefix(self._prefix).removesuffix(end) for key in keys if key.endswith(end))

    def manifest(self, name: str) -> bytes:
        return b"".join(self.blocks(name, backup_manifest.FILE))

    def blocks(self, name: str, file: str) -> Iterator[bytes]:
        try:
            yield from self._bucket.read(self._key(name, file))
        except BucketTrouble as trouble:
            if trouble.reason == "gone":
                raise _gone(f"{name}/{file}", self.name) from None
            raise

    @contextmanager
    def making(self) -> Iterator[Path]:
        with durable.workspace(self._settings.backups) as folder:
            folder.chmod(0o700)
            yield folder

    def keep(self, folder: Path, name: str) -> None:
        # The manifest is what makes it a backup: it goes last.
        files = sorted(folder.iterdir(), key=lambda path: (path.name == backup_manifest.FILE, path.name))
        for path in files:
            self._put(self._key(name, path.name), path)

    @contextmanager
    def here(self, name: str) -> Iterator[Path]:
        self.ready()
        data = self.manifest(name)
        with durable.workspace(self._settings.backups) as folder:
            folder.chmod(0o700)
            (folder / backup_manifest.FILE).write_bytes(data)
            for piece in backup_manifest.read(data, name).manifest.pieces:
                with (folder / piece.name).open("xb") as file:
                    for block in self.blocks(name, piece.name):
                        file.write(block)
            yield folder

    def remove(self, name: str) -> None:
        # Without its manifest it is none any more.
        self._bucket.remove(self._key(name, backup_manifest.FILE))
        for listed in list(self._bucket.objects(f"{self._prefix}{name}/")):
            self._bucket.remove(listed.key)

    def _key(self, name: str, file: str) -> str:
        return f"{self._prefix}{name}/{file}"

    def _put(self, key: str, path: Path) -> None:
        """Send a file, in parts where it is large, and have the store confirm what it has."""
        part_bytes = self._settings.s3_part_mb * MIB
        digest = digest_of(path, part_bytes)
        assert digest is not None
        if len(digest.parts) == 1:
            self._bucket.put(key, path.read_bytes(), digest.sha256)
        else:
            for left in self._bucket.uploads(key):
                self._bucket.abort(key, left)
            upload = self._bucket.begin(key)
            parts: dict[int, tuple[bytes, str]] = {}
            with path.open("rb") as file:
                for number, sha256 in enumerate(digest.parts, 1):
                    etag = self._bucket.put_part(key, upload, number, file.read(part_bytes), sha256)
                    parts[number] = (sha256, etag)
            self._bucket.complete(key, upload, parts)
        if confirmed(self._bucket, key, digest) is None:
            raise BucketTrouble("digest", "The store confirms other bytes than were sent.", "It is sent again.")


def verify(place: Place, name: str, pieces: tuple[Piece, ...]) -> list[str]:
    """Read every byte of a backup; what is not as it was, a sentence each."""
    wrong = []
    for piece in pieces:
        seen, size = hashlib.sha256(), 0
        try:
            for block in place.blocks(name, piece.name):
                seen.update(block)
                size += len(block)
        except BackupTrouble as trouble:
            wrong.append(trouble.message)
            continue
        except OSError as error:
            wrong.append(f"{name}/{piece.name} cannot be read ({error.strerror}).")
            continue
        if (size, seen.hexdigest()) != (piece.bytes, piece.sha256):
            wrong.append(f"{name}/{piece.name} is not what it was when it was made.")
    return wrong


def blocks_of(path: Path) -> Iterator[bytes]:
    """What the disk has, and not what the system remembers of it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _gone(f"{path.parent.name}/{path.name}", str(path.parent.parent)) from None
    with os.fdopen(descriptor, "rb") as file:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        while block := file.read(_BLOCK):
            yield block


def _gone(name: str, place: str) -> BackupTrouble:
    return BackupTrouble("gone", f"There is no {name} in {place}.", "`appliance backup list` names what is there.")
