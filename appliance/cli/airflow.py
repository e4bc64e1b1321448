"""``appliance airflow ...``: this box's Airflow, which keeps the schedule."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, hint, say

if TYPE_CHECKING:
    from appliance.airflow.setup import Ready

airflow = typer.Typer(help="This box's Airflow, which keeps the schedule.", no_args_is_help=True)


@airflow.callback()
def _group() -> None:
    """This box's Airflow, which keeps the schedule."""


@airflow.command()
def init(as_json: JsonFlag = False) -> None:
    """Set Airflow up: secrets, database, first user, DAGs. Doing it again changes nothing."""
    from appliance.airflow import setup

    _tell_ready(setup.init(settings.load(), _progress), as_json)


@airflow.command("dag-processor")
def dag_processor(as_json: JsonFlag = False) -> None:
    """Read the DAGs once, for example after a schedule in the settings has changed."""
    from appliance.airflow import setup

    _tell_ready(setup.read_dags(settings.load(), _progress), as_json)


@airflow.command("api-server")
def api_server() -> None:
    """Run Airflow's pages, and what its tasks report to, until told to stop."""
    from appliance.airflow import launch

    launch.api_server(settings.load())


@airflow.command()
def scheduler() -> None:
    """Run Airflow's scheduler with its tasks, until told to stop; one a box."""
    from appliance.airflow import launch

    launch.scheduler(settings.load())


@airflow.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def command(context: typer.Context) -> None:
    """Run any command of Airflow's own with this box's configuration: `command -- dags list`."""
    from appliance.airflow import launch

    launch.command(settings.load(), context.args)


@airflow.command()
def health(as_json: JsonFlag = False) -> None:
    """Say whether Airflow is well: its database, and the age of its scheduler's last sign of life."""
    from appliance.airflow import config
    from appliance.airflow import health as signs

    found = signs.look(config.home_url(settings.load()))
    if as_json:
        emit(found.as_dict())
    else:
        say(found.sentence())
    if not found.well:
        raise typer.Exit(1)


@airflow.command()
def password(as_json: JsonFlag = False) -> None:
    """Give Airflow's first user another random password, and say in which file it stands."""
    from appliance.airflow import secrets, setup

    file = setup.new_password(settings.load(), _progress)
    if as_json:
        emit({"user": secrets.ADMIN, "password_file": file})
    else:
        say(f"The new password of {secrets.ADMIN} is in {file}.")


@airflow.command()
def trigger(
    dag: Annotated[str, typer.Argument(help="Which DAG: ingest, predict, maintain.")], as_json: JsonFlag = False
) -> None:
    """Start a run of a DAG as soon as its turn comes."""
    from appliance.airflow.trigger import trigger as start

    run = start(settings.load(), dag)
    if as_json:
        emit({"dag": dag, "run": run})
    else:
        say(f"Run {run} of {dag} waits for its turn.")


def _tell_ready(ready: Ready, as_json: bool) -> None:
    if as_json:
        emit(ready.as_dict())
    else:
        say(ready.sentence())
        for broken in ready.broken:
            say(f"{broken.file} cannot be read: {broken.reason}")
    if ready.broken:
        raise typer.Exit(1)


def _progress(text: str) -> None:
    """What takes long is told to who looks at it."""
    if sys.stderr.isatty():
        hint(text)
