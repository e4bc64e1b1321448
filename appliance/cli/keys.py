"""``appliance token ...`` and ``appliance key ...``: who may use the API, and who may sign models."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, hint, say, table

# As in appliance.store.rows, which is not imported before it is needed.
Role = Literal["viewer", "operator", "engineer", "admin"]
Source = Literal["webapp", "scheduled", "api"]

tokens = typer.Typer(help="Tokens of programs that use the API.", no_args_is_help=True)
keys = typer.Typer(help="Keys that sign models.", no_args_is_help=True)


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Who uses it; shown in lists and ledgers.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = "viewer",
    source: Annotated[Source, typer.Option(help="What its predictions count as.")] = "api",
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; without: never.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a token. It is printed once and kept only as a hash."""
    from appliance.store import engine, principals

    lifetime = timedelta(days=days) if days else None
    with engine.transaction(engine.connect(settings.load().require_dsn())) as connection:
        plain = principals.create_token(connection, name, role=role, source=source, lifetime=lifetime)
    if as_json:
        emit({"name": name, "role": role, "source": source, "token": plain})
    else:
        hint(f"Token of {name} ({role}, predictions count as {source}), shown this once:")
        say(plain)


@tokens.command("list")
def list_tokens(as_json: JsonFlag = False) -> None:
    """The tokens, without their secrets."""
    from appliance.store import engine, principals

    with engine.transaction(engine.connect(settings.load().require_dsn())) as connection:
        found = principals.tokens(connection)
    if as_json:
        emit({"tokens": found})
    else:
        columns = ("name", "role", "source", "created_at", "expires_at", "revoked_at", "last_used_at")
        table(([row[column] for column in columns] for row in found), columns)


@tokens.command("revoke")
def revoke_token(name: str) -> None:
    """Take a token's rights away; it is refused within seconds."""
    from appliance.store import engine, principals

    with engine.transaction(engine.connect(settings.load().require_dsn())) as connection:
        principals.revoke_token(connection, name)
    say(f"The token of {name} is revoked.")


@keys.command("create")
def create_key(path: Annotated[Path | None, typer.Argument(help="Default: the setting signing_key.")] = None) -> None:
    """Make a key pair that signs models; the public half belongs on each box that shall trust them."""
    from appliance import signing

    private = path or settings.load().private_key
    signing.create_key(private)
    say(f"Private key {private}, public key {signing.public_path(private)}.")
