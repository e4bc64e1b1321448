"""``appliance notify ...``: try the targets of messages, send what waits, and see what became of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, hint, say, table
from appliance.errors import SettingError

app = typer.Typer(help="Messages to people: try the targets, send, list.", no_args_is_help=True)

# As in appliance.notify_causes.
Wish = Literal["alarm", "quality", "box"]


@app.command("test")
def try_out(
    only: Annotated[Wish | None, typer.Option(help="Only targets that are told of these.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Send a test message to every target now."""
    from appliance import notify

    box = _box_with_targets()
    tried = notify.try_all(box, only)
    if as_json:
        emit({"targets": [asdict(one) for one in tried]})
    elif not tried:
        say(f"No target is told of {only}.")
    for one in () if as_json else tried:
        where = f"line {one.line}, {one.label}: " if one.line else ""
        say(f"{where}{'delivered' if one.error is None else one.error}")
    if not as_json and "//127.0.0.1" in box.reachable_url:
        hint(f"Links in messages lead to {box.reachable_url}, which only this box can open: set public_url.")
    if not tried or any(one.error is not None for one in tried):
        raise typer.Exit(1)


@app.command()
def send(
    seconds: Annotated[float | None, typer.Option("--seconds", min=0, help="End after so many seconds.")] = None,
    left_over: Annotated[
        bool,
        typer.Option(
            "--left-over", help="Only what the schedule should have sent ten minutes ago; fine where nobody is told."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """One pass: send what is due. The schedule does it after each of its passes."""
    from appliance import notify
    from appliance.store import engine

    # Where the targets are kept from this shell, what waits is not ours to settle.
    box = settings.load() if left_over else _box_with_targets()
    store = engine.connect(box.require_dsn(), application="appliance-notify")
    if left_over and not (_has_targets(box) and notify.is_left_over(store)):
        if as_json:
            emit(notify.Sent().as_dict())
        else:
            say("Nothing was left over.")
        return
    done = notify.send(box, store, seconds)
    if as_json:
        emit(done.as_dict())
    else:
        say(done.sentence())
    if done.errors:
        raise typer.Exit(1)


@app.command("list")
def list_messages(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 30, as_json: JsonFlag = False
) -> None:
    """Messages: those that wait first, then the newest."""
    from appliance import notify
    from appliance.store import engine

    box = settings.load()
    found = notify.listed(box, engine.connect(box.require_dsn()), limit)
    if as_json:
        emit({"messages": found})
    elif not found:
        say("No message was due yet.")
    else:
        table((_row(one) for one in found), ("created", "state", "target", "of", "error"))


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    created = one["created_at"].astimezone().strftime("%Y-%m-%d %H:%M")
    return created, one["state"], one["target"], one["what"], one["error"]


def _has_targets(box: settings.Settings) -> bool:
    return box.notify_targets is not None and bool(box.notify_targets.get_secret_value().strip())


def _box_with_targets() -> settings.Settings:
    box = settings.load()
    if not _has_targets(box):
        raise SettingError("No target of messages is set.", "Set notify_targets; docs/notify.md shows how.")
    return box
