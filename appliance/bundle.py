"""The shelf of models: ``models/<profile>/<version>/`` are bundles, ``active`` names the one that serves.

``active`` is a text file with a version, replaced by rename; ``history`` lists what was active before it, newest last.
The history is written before the pointer when going forward and after it when going back: cut off in between, its
newest entry is the active version itself, which going back skips.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance import durable, signing
from appliance.bundle_check import (
    CARD,
    CARD_TEXT,
    PLOTS,
    SIGNATURE,
    SIGNED,
    SUMS,
    VERSION,
    Bundle,
    identity,
    profile_of,
    trusted_files,
    verify,
)
from appliance.errors import BundleRefused, NotReady
from appliance.profile import Profile
from appliance.shelf import ACTIVE, active_version, profiles, shelf_of

__all__ = [
    "Bundle",
    "Shelved",
    "activate",
    "active",
    "active_profile",
    "active_version",
    "documents",
    "install",
    "installed",
    "load",
    "overview",
    "profiles",
    "publish",
    "rollback",
    "verify",
]

_HISTORY = "history"
_HISTORY_LENGTH = 50


@dataclass(frozen=True, slots=True)
class Shelved:
    """A version on the shelf. ``card`` is empty where ``problem`` says why the bundle cannot be trusted."""

    version: str
    active: bool
    card: Mapping[str, Any]
    problem: str


def installed(models: Path, profile: str) -> list[str]:
    """Versions on the shelf, oldest first (they begin with their date)."""
    shelf = shelf_of(models, profile)
    if not shelf.is_dir():
        return []
    return sorted(p.name for p in shelf.iterdir() if VERSION.fullmatch(p.name) and p.is_dir() and not p.is_symlink())


def overview(models: Path, profile: str, keys: Sequence[Ed25519PublicKey]) -> list[Shelved]:
    """What is on the shelf, oldest first. Signature and checksums are looked at; the self-test is for those who load."""
    now = active_version(models, profile)
    found = []
    for version in installed(models, profile):
        card: Mapping[str, Any] = {}
        problem = ""
        try:
            card = json.loads(trusted_files(shelf_of(models, profile) / version, keys)[CARD])
        except BundleRefused as error:
            problem = error.message
        found.append(Shelved(version, version == now, card, problem))
    return found


def active(models: Path, profile: str, keys: Sequence[Ed25519PublicKey]) -> Bundle:
    """The bundle that is to serve, verified; NotReady where none was activated, BundleRefused where it may not serve."""
    version = active_version(models, profile)
    if version is None:
        raise NotReady(
            f"No model of profile {profile!r} is active.", "Train one with `appliance model train --activate`."
        )
    return load(models, profile, version, keys)


def load(models: Path, profile: str, version: str, keys: Sequence[Ed25519PublicKey]) -> Bundle:
    """One installed bundle, verified, and shelved under its own name."""
    if version not in installed(models, profile):
        known = ", ".join(installed(models, profile)) or "none"
        raise BundleRefused("missing", f"There is no model {version!r} of profile {profile!r}.", f"Installed: {known}.")
    bundle = verify(shelf_of(models, profile) / version, keys)
    if (bundle.profile.name, bundle.version) != (profile, version):
        raise BundleRefused(
            "name",
            f"The folder {profile}/{version} holds the model {bundle.profile.name}/{bundle.version}.",
            "Remove the folder, and install the model again with `appliance model install`.",
        )
    return bundle


def documents(models: Path, profile: str, version: str, keys: Sequence[Ed25519PublicKey]) -> Mapping[str, bytes]:
    """What a bundle brings for people, by file name: the card's text and the plots. BundleRefused for an untrusted one."""
    if version not in installed(models, profile):
        raise BundleRefused("missing", f"There is no model {version!r} of profile {profile!r}.", "Take another.")
    found = trusted_files(shelf_of(models, profile) / version, keys)
    return {name: found[name] for name in (CARD_TEXT, *PLOTS)}


def active_profile(models: Path, profile: str, keys: Sequence[Ed25519PublicKey]) -> Profile:
    """The profile of the bundle that is to serve, signed and whole: what a pass over new files needs, and no more.

    The model itself is not looked into, so that a pass need not load ONNX Runtime.
    """
    version = active_version(models, profile)
    if version is None:
        raise NotReady(
            f"No model of profile {profile!r} is active.", "Train one with `appliance model train --activate`."
        )
    if version not in installed(models, profile):
        raise BundleRefused("missing", f"There is no model {version!r} of profile {profile!r}.", "Activate another.")
    found = profile_of(trusted_files(shelf_of(models, profile) / version, keys))
    if found.name != profile:
        raise BundleRefused("name", f"The folder {profile}/{version} holds a model of {found.name}.", "Remove it.")
    return found


def publish(files: Mapping[str, bytes], models: Path, key: Path) -> Bundle:
    """Sign a new bundle's files (those of ``bundle_check.SIGNED``) and put it on the shelf.

    It has to pass :func:`verify` like any other. Where the same content is there already under that version, that one stays.
    """
    if set(files) != set(SIGNED):
        raise ValueError(f"a bundle holds {sorted(SIGNED)}, not {sorted(files)}")
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()
    signed = {**files, SUMS: sums, SIGNATURE: signing.sign(key, sums)}
    return _shelve(signed, models, [signing.public_key(key)])


def install(source: Path, models: Path, keys: Sequence[Ed25519PublicKey]) -> Bundle:
    """Copy a bundle's folder to the shelf, verified where it will lie; installing it again changes nothing."""
    return _shelve(trusted_files(source, keys), models, keys)


def activate(models: Path, profile: str, version: str, keys: Sequence[Ed25519PublicKey]) -> Bundle:
    """Let an installed version serve from now on; it is verified first."""
    if not shelf_of(models, profile).is_dir():
        raise BundleRefused("missing", f"There is no model of profile {profile!r}.", "Train or install one first.")
    with durable.locked(shelf_of(models, profile)):
        bundle = load(models, profile, version, keys)
        before = active_version(models, profile)
        if before != version:
            if before is not None:
                _write_history(models, profile, [*_history(models, profile), before])
            _point(models, profile, version)
    return bundle


def rollback(models: Path, profile: str, keys: Sequence[Ed25519PublicKey]) -> Bundle:
    """Let the version serve that was active before the present one; again, the one before that. It is verified first."""
    if active_version(models, profile) is None:
        raise BundleRefused("missing", f"No model of profile {profile!r} is active.", "Activate one first.")
    with durable.locked(shelf_of(models, profile)):
        now = active_version(models, profile)
        earlier = _history(models, profile)
        while earlier and earlier[-1] == now:
            earlier.pop()
        if not earlier:
            raise BundleRefused(
                "missing", f"No model of profile {profile!r} was active before {now}.", "Activate another."
            )
        bundle = load(models, profile, earlier[-1], keys)
        _point(models, profile, bundle.version)
        _write_history(models, profile, earlier[:-1])
    return bundle


def _shelve(files: Mapping[str, bytes], models: Path, keys: Sequence[Ed25519PublicKey]) -> Bundle:
    profile, version = identity(files)
    shelf = shelf_of(models, profile)
    if version in (ACTIVE, _HISTORY):
        raise BundleRefused("card", f"A model cannot be called {version!r}.", "Train it again.")
    shelf.mkdir(parents=True, exist_ok=True)
    durable.sync_folder(models)
    durable.sync_folder(models.parent)
    target = shelf / version
    with durable.workspace(shelf) as folder:
        durable.write_all(folder, files)
        bundle = verify(folder, keys)
        with durable.locked(shelf):
            if os.path.lexists(target):
                present = _present(target, bundle, keys)
                if present is not None:
                    return present
                # Same version, spoiled on the disk: the good copy takes its place.
                _clear(target)
            folder.rename(target)
            durable.sync_folder(shelf)
    return replace(bundle, folder=target)


def _clear(target: Path) -> None:
    if target.is_symlink() or not target.is_dir():
        target.unlink()
    else:
        shutil.rmtree(target)


def _present(target: Path, new: Bundle, keys: Sequence[Ed25519PublicKey]) -> Bundle | None:
    """The bundle that lies under the new one's version; None where it is a spoiled copy. Another model is a refusal."""
    try:
        present = verify(target, keys)
    except BundleRefused as error:
        if error.reason == "signature":
            raise BundleRefused(
                "exists",
                f"A model that no trusted key signed lies under the version {new.version} already.",
                f"Trust its key, or remove {target} if you do not know it.",
            ) from None
        return None
    if present.card.get("content") != new.card.get("content"):
        raise BundleRefused(
            "exists",
            f"Another model is installed as {new.version} already.",
            "A version is never replaced: train anew.",
        )
    return present


def _point(models: Path, profile: str, version: str) -> None:
    durable.write(shelf_of(models, profile) / ACTIVE, f"{version}\n".encode())


def _history(models: Path, profile: str) -> list[str]:
    try:
        return (shelf_of(models, profile) / _HISTORY).read_text(encoding="ascii", errors="replace").split()
    except FileNotFoundError:
        return []


def _write_history(models: Path, profile: str, before: list[str]) -> None:
    lines = "".join(f"{version}\n" for version in before[-_HISTORY_LENGTH:])
    durable.write(shelf_of(models, profile) / _HISTORY, lines.encode())
