"""``appliance api``, ``appliance ui`` and ``appliance demo``: what keeps running until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.output import JsonFlag


def register(app: typer.Typer) -> None:
    app.command()(api)
    app.command()(ui)
    app.command()(demo)


def api() -> None:
    """Serve the HTTP API on the address, port or socket that the settings say."""
    from appliance.api.serve import main

    main()


def ui() -> None:
    """Show the screens to browsers, on the address and port that the settings say; they ask the API."""
    from appliance import screens, settings

    screens.become(settings.load())


def demo(
    data: Annotated[Path | None, typer.Option(help="Play this CSV as the plant, instead of simulated mills.")] = None,
    profile: Annotated[str, typer.Option(help="Profile of the plant.")] = "milling",
    folder: Annotated[Path, typer.Option(help="The demo's one folder.")] = Path(".demo"),
    once: Annotated[
        bool, typer.Option("--once", help="Play a bounded amount, print the row accounting and end.")
    ] = False,
    machines: Annotated[int, typer.Option(min=1, max=100, help="Machines in the plant.")] = 4,
    rows_per_file: Annotated[
        int | None, typer.Option(min=1, help="Rows in each file; default: 5, with --once 250.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 takes a free one.")] = 8000,
    no_airflow: Annotated[
        bool,
        typer.Option("--no-airflow", help="Let the demo's own loop keep the schedule, as with --once."),
    ] = False,
    no_ui: Annotated[bool, typer.Option("--no-ui", help="Leave the screens out, as with --once.")] = False,
    no_grafana: Annotated[
        bool, typer.Option("--no-grafana", help="Leave Grafana out where there is one, as with --once.")
    ] = False,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Weeks without a network in a minute: copies to S3 wait, then drain."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Everything on this machine, no root: a database, a model, the API, a plant with faults, predictions."""
    from appliance import demo as demonstration

    wishes = demonstration.Wishes(
        data=data, profile=profile, folder=folder, once=once, machines=machines, rows_per_file=rows_per_file or (250 if once else 5), port=port,
        airflow=not (no_airflow or once), ui=not (no_ui or once),
        grafana=not (no_grafana or once), offline=offline, as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(demonstration.run(wishes))
