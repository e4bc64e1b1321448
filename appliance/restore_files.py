"""Files that come back from a backup: unpacked aside, then renamed into their places, which may be done again."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from appliance import durable
from appliance.backup_files import CONFIG, KEYS, MODELS, PROFILES
from appliance.errors import BackupTrouble
from appliance.settings import SECRETS_VARIABLES, Settings, config_path

SIDE, OLD = ".restore", ".before-restore"
# Beside the settings file that is there, for a person to compare.
ASIDE = ".from-backup"


def unpack(settings: Settings, archive: Path, *, with_settings: bool) -> dict[str, list[list[str]]]:
    """Bring models, profiles, keys and settings onto the disk beside their places; what is to be renamed to what."""
    folder = settings.backups / SIDE
    shutil.rmtree(folder, ignore_errors=True)
    models = _beside(settings.models)
    shutil.rmtree(models, ignore_errors=True)
    models.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        with tarfile.open(archive) as tar:
            _unpack(tar, folder)
    except (tarfile.TarError, OSError) as error:
        said = f"{archive.name} cannot be unpacked ({type(error).__name__})."
        raise BackupTrouble("damaged", said, "Is there room on the disk? Else take another backup.") from None
    plan: dict[str, list[list[str]]] = {"folders": [], "files": []}
    if (folder / MODELS).is_dir():
        shutil.copytree(folder / MODELS, models, copy_function=shutil.copyfile)
        _belong(models, settings.models)
        _durable(models)
        plan["folders"].append([str(models), str(settings.models)])
    config = config_path()
    targets = [(folder / KEYS, settings.keys)]
    if settings.profiles_dir is not None:
        targets.append((folder / PROFILES, settings.profiles_dir))
    for source, target in targets:
        for path in sorted(source.rglob("*")) if source.is_dir() else ():
            if path.is_file():
                plan["files"].append(_aside(target / path.relative_to(source), path.read_bytes(), 0o644))
    if config is not None and (folder / CONFIG).is_file():
        data = (folder / CONFIG).read_bytes()
        if data != config.read_bytes():
            target = config if with_settings else config.with_name(config.name + ASIDE)
            plan["files"].append(_aside(target, data, 0o644))
    shutil.rmtree(folder, ignore_errors=True)
    return plan


def _unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """Files and folders alone, all of them below ``folder``: the tarfile of Debian 12's Python has no filter for it."""
    for entry in tar:
        name = PurePosixPath(entry.name)
        if name.is_absolute() or ".." in name.parts or not (entry.isfile() or entry.isdir()):
            raise tarfile.TarError
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.isdir():
            target.mkdir(exist_ok=True)
        elif (source := tar.extractfile(entry)) is not None:
            with source, target.open("xb") as file:
                shutil.copyfileobj(source, file)


def unseal(settings: Settings, found: Mapping[str, bytes]) -> list[list[str]]:
    """Bring secrets onto the disk beside their places; what is to be renamed to what."""
    places = {
        "secrets": _secrets_folder(settings),
        "outbox": settings.outbox,
        "keys": settings.private_key.parent,
        "airflow": settings.airflow / "secrets",
    }
    plan = []
    for name, data in sorted(found.items()):
        kind, _, file = name.partition("/")
        if kind in places and file and "/" not in file and not file.startswith("."):
            mode = 0o644 if file.endswith(".pub") else 0o600
            plan.append(_aside(places[kind] / file, data, mode))
    return plan


def put(plan: Mapping[str, Any]) -> None:
    """Rename all that still waits beside its place. Done again after a kill, it goes on."""
    for side, target in _pairs(plan, "folders"):
        if side.exists():
            old = target.with_name(target.name + OLD)
            if target.exists():
                shutil.rmtree(old, ignore_errors=True)
                target.rename(old)
            side.rename(target)
            durable.sync_folder(target.parent)
    for side, target in _pairs(plan, "files"):
        if side.exists():
            side.replace(target)
            durable.sync_folder(target.parent)


def clear(plan: Mapping[str, Any]) -> None:
    """Remove what waits beside its place, and shall not get there."""
    for side, _ in _pairs(plan, "folders"):
        shutil.rmtree(side, ignore_errors=True)
    for side, _ in _pairs(plan, "files"):
        side.unlink(missing_ok=True)


def _pairs(plan: Mapping[str, Any], kind: str) -> Iterable[tuple[Path, Path]]:
    return [(Path(side), Path(target)) for side, target in plan.get(kind, ())]


def _secrets_folder(settings: Settings) -> Path:
    """Where the box keeps its secrets: beside its settings file; not where systemd hands them to a service."""
    if named := os.environ.get(SECRETS_VARIABLES[0]):
        return Path(named)
    config = config_path()
    return config.parent / "secrets" if config is not None else settings.data_dir / "secrets"


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}{SIDE}")


def _aside(target: Path, data: bytes, mode: int) -> list[str]:
    if not target.parent.is_dir():
        target.parent.mkdir(parents=True)
        target.parent.chmod(0o700 if mode == 0o600 else 0o755)
        _own(target.parent, target.parent.parent)
    side = _beside(target)
    side.unlink(missing_ok=True)
    durable.write(side, data, mode)
    # Whatever mask the administrator's shell has: services read these files under other names.
    side.chmod(mode)
    _own(side, target if target.exists() else target.parent)
    return [str(side), str(target)]


def _belong(folder: Path, like: Path) -> None:
    """Give what root unpacked to whom the folder in its place belongs, with the rights that this one has."""
    given = like if like.is_dir() else like.parent
    mode = given.stat().st_mode & 0o7777 if like.is_dir() else 0o750
    for path in [folder, *folder.rglob("*")]:
        _own(path, given)
        path.chmod(mode if path.is_dir() else 0o640)


def _own(path: Path, like: Path) -> None:
    if os.geteuid() == 0:
        found = like.stat()
        os.chown(path, found.st_uid, found.st_gid)


def _durable(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            durable.sync_file(path)
    for path in [*[path for path in folder.rglob("*") if path.is_dir()], folder, folder.parent]:
        durable.sync_folder(path)
