"""``appliance backup ...`` and ``appliance restore``: copies of all that a box knows, and the way back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, hint, say, table
from appliance.errors import BackupTrouble, UsageError

group = typer.Typer(help="Back up databases, models, profiles, settings and secrets.", invoke_without_command=True)
NO_PLACE = "No place for backups is set (backup_to): nothing is backed up."


def register(app: typer.Typer) -> None:
    app.command()(restore)


@group.callback()
def make(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Make a backup, read it back, and let go of those that are old."""
    if context.invoked_subcommand is not None:
        return
    from appliance import backup, pipeline

    found = settings.load()
    if found.backup_to is None:
        emit({"backup": None}) if as_json else say(NO_PLACE)
        return
    done = backup.once(pipeline.open_box(found))
    if as_json:
        emit(done.as_dict())
    else:
        say(done.sentence())


@group.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """What is there, the newest first, and what was found of each."""
    from appliance import backup, backup_places, pipeline
    from appliance.store import backups, engine

    found = settings.load()
    if found.backup_to is None:
        emit({"backups": []}) if as_json else say(NO_PLACE)
        return
    box, place = pipeline.open_box(found), backup_places.of(found)
    backup.adopt(box, place)
    with engine.transaction(box.engine) as connection:
        there = backups.there(connection, place.name)
    if as_json:
        emit({"place": place.name, "backups": [asdict(kept) for kept in there]})
        return
    columns = ("backup", "bytes", "secrets", "verified", "drill")
    table(
        (
            (
                kept.name,
                f"{kept.bytes:,}",
                "yes" if kept.secrets else "no",
                kept.damage or (f"{kept.verified_at:%Y-%m-%d %H:%M}" if kept.verified_at else "never"),
                kept.drill_error or (f"{kept.drilled_at:%Y-%m-%d %H:%M}" if kept.drilled_at else "never"),
            )
            for kept in there
        ),
        columns,
    )


@group.command()
def verify(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A backup's folder, or its name; default: the newest.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Read every byte of a backup and compare it with its manifest. Exit 1 where one is another."""
    from appliance import backup, backup_manifest, backup_places, pipeline

    found = settings.load()
    if file is not None and Path(file).is_dir():
        folder = Path(file).absolute()
        here = backup_places.InFolder(folder.parent)
        read = backup_manifest.read(here.manifest(folder.name), folder.name)
        wrong = backup_places.verify(here, folder.name, read.manifest.pieces)
    else:
        place = backup_places.of(found)
        box = pipeline.open_box(found)
        if file is None:
            backup.adopt(box, place)
            newest = backup.newest(box.engine, place)
            if newest is None:
                raise BackupTrouble("gone", f"There is no backup in {place.name}.", "`appliance backup` makes one.")
            file = newest.name
        read, wrong = backup.verify(box, place, file)
    manifest = read.manifest
    if as_json:
        said = {"backup": manifest.name, "bytes": manifest.bytes, "files": len(manifest.pieces)}
        emit({**said, "signed_by": read.signed_by, "wrong": wrong})
    else:
        for line in wrong:
            say(line)
        if not wrong:
            say(f"{manifest.name}: {len(manifest.pieces)} files with {manifest.bytes:,} bytes, each as it was made.")
    if wrong:
        raise typer.Exit(1)


@group.command()
def drill(as_json: JsonFlag = False) -> None:
    """Restore the newest backup into a throw-away database and compare it with what was there."""
    from appliance import backup_drill, pipeline

    found = settings.load()
    if found.backup_to is None:
        emit({"backup": None}) if as_json else say(NO_PLACE)
        return
    done = backup_drill.once(pipeline.open_box(found))
    if as_json:
        emit(done.as_dict())
    else:
        say(done.sentence())


def restore(
    file: Annotated[str | None, typer.Argument(help="A backup's folder, or its name in the place of backups.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whether it can be restored here.")] = False,
    identity: Annotated[
        Path | None, typer.Option(help="The owner's private key (age or SSH): secrets come back too.")
    ] = None,
    with_settings: Annotated[
        bool, typer.Option("--settings", help="Put its settings file in place of the one that is here.")
    ] = False,
    signed_by: Annotated[
        str, typer.Option(metavar="KEY", help="Take it only where that box signed it; `backup verify --json` shows it.")
    ] = "",
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove what the last restore kept of the time before it.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring a backup back, here or onto a fresh box; all of it or nothing. Services have to be stopped."""
    from appliance import backup_state
    from appliance import restore as restoring

    found = settings.load()
    if forget:
        if file is not None:
            raise UsageError("--forget takes no file.", "Leave one of both out.")
        gone = restoring.forget(found)
        if as_json:
            emit({"removed": gone})
        else:
            say(f"Removed: {', '.join(gone)}." if gone else "Nothing of an earlier restore is left.")
        return
    if file is None and not backup_state.pending(found):
        raise UsageError("Which backup?", "`appliance backup list` names them; a folder will do as well.")
    done = restoring.run(
        found, file or "", dry_run=dry_run, identity=identity, with_settings=with_settings, signed_by=signed_by
    )
    if as_json:
        emit(asdict(done))
        return
    say(done.sentence())
    for note in done.notes:
        hint(note)
