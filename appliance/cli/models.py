"""``appliance model ...``: train a model, and decide which one serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, say, table, workshop

app = typer.Typer(help="Train, verify, install, activate and roll back models.", no_args_is_help=True)

ProfileName = Annotated[str, typer.Option("--profile", help="Name of the profile.")]


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def train(context: typer.Context) -> None:
    """Train on labelled rows, compare with the limits alone, prove the conversion, publish. (--profile, --data, --json)"""
    workshop("model.train", context.args)


@app.command()
def verify(folder: Path, as_json: JsonFlag = False) -> None:
    """Prove that a bundle is whole, signed by a trusted key, safe, and right on its golden rows."""
    from appliance import bundle, signing

    found = bundle.verify(folder, signing.trusted_keys(settings.load().keys))
    if as_json:
        emit({"profile": found.profile.name, "version": found.version, "verified": True})
    else:
        say(f"{found.profile.name} {found.version} is whole, signed, safe and right on its golden rows.")


@app.command()
def install(folder: Path, activate: bool = False, as_json: JsonFlag = False) -> None:
    """Copy a bundle onto this box after it was verified; --activate lets it serve."""
    from appliance import bundle, signing

    box = settings.load()
    keys = signing.trusted_keys(box.keys)
    found = bundle.install(folder, box.models, keys)
    if activate:
        bundle.activate(box.models, found.profile.name, found.version, keys)
    if as_json:
        emit({"profile": found.profile.name, "version": found.version, "active": activate})
    else:
        say(f"{found.profile.name} {found.version} is installed{' and active' if activate else ''}.")


@app.command()
def activate(version: str, profile: ProfileName, as_json: JsonFlag = False) -> None:
    """Let an installed version serve; the API takes it up within seconds."""
    from appliance import bundle, signing

    box = settings.load()
    found = bundle.activate(box.models, profile, version, signing.trusted_keys(box.keys))
    _told(found.profile.name, found.version, as_json)


@app.command()
def rollback(profile: ProfileName, as_json: JsonFlag = False) -> None:
    """Return to the version that served before."""
    from appliance import bundle, signing

    box = settings.load()
    found = bundle.rollback(box.models, profile, signing.trusted_keys(box.keys))
    _told(found.profile.name, found.version, as_json)


@app.command("list")
def list_(profile: Annotated[str | None, typer.Option("--profile")] = None, as_json: JsonFlag = False) -> None:
    """The installed versions, and which one serves."""
    from appliance import bundle

    box = settings.load()
    names = [profile] if profile else bundle.profiles(box.models)
    rows = [
        {"profile": name, "version": version, "active": version == bundle.active_version(box.models, name)}
        for name in names
        for version in bundle.installed(box.models, name)
    ]
    if as_json:
        emit({"models": rows})
    elif rows:
        table(((r["profile"], r["version"], "active" if r["active"] else "") for r in rows), ("profile", "version", ""))
    else:
        say("No model is installed. Train one with `appliance model train --profile NAME --data CSV`.")


def _told(profile: str, version: str, as_json: bool) -> None:
    if as_json:
        emit({"profile": profile, "version": version, "active": True})
    else:
        say(f"{profile} {version} is active.")
