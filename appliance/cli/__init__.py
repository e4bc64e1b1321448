"""The command line: thin commands over the modules that do the work.

Exit codes: 0 fine, 1 a fault was found, 2 wrong usage. A wrong input gets one sentence on standard error.
"""

from __future__ import annotations

import logging
import os
import sys

import typer

from appliance import trouble
from appliance.cli import (
    airflow,
    alerts,
    backup,
    box,
    data,
    demo_rows,
    keys,
    models,
    notify,
    profiles,
    run,
    serve,
    sync,
    users,
)
from appliance.errors import ApplianceError, UsageError

app = typer.Typer(
    name="appliance",
    help="Tell which machine is heading for failure, why, and what to do, from the files that machines drop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(airflow.airflow, name="airflow")
app.add_typer(models.app, name="model")
app.add_typer(profiles.app, name="profile")
app.add_typer(keys.tokens, name="token")
app.add_typer(keys.keys, name="key")
app.add_typer(users.users, name="user")
app.add_typer(data.database, name="db")
app.add_typer(notify.app, name="notify")
app.add_typer(alerts.app, name="alerts")
app.add_typer(demo_rows.group, name="demo-rows")
app.add_typer(backup.group, name="backup")
run.register(app)
box.register(app)
serve.register(app)
sync.register(app)
backup.register(app)


def main() -> None:
    """Entry point of the command ``appliance``."""
    try:
        app()
    except ApplianceError as error:
        print(f"appliance: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:
        # The reader of our output went away (a pager, head): not an error, and nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if logging.getLogger().isEnabledFor(logging.DEBUG) or os.environ.get("APPLIANCE_LOG_LEVEL") == "debug":
            raise
        if its := trouble.of_box(error):
            print(f"appliance: {its}", file=sys.stderr)  # noqa: T201
            sys.exit(1)
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        print(  # noqa: T201
            f"appliance: This should not have happened ({said}). Set APPLIANCE_LOG_LEVEL=debug to see where.",
            file=sys.stderr,
        )
        sys.exit(1)
