"""``appliance alerts ...``: Grafana's alert rules, tried out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, hint, say, table

if TYPE_CHECKING:
    from appliance.drill import Drilled

_ARRIVAL = ("arrived", "sent to people", "")

app = typer.Typer(help="Alerts of the dashboards.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps ``drill`` a word of its own while it is the only one."""


@app.command()
def drill(
    only: Annotated[list[str] | None, typer.Option(help="This alert alone, such as lag; may be said again.")] = None,
    grafana: Annotated[
        str | None, typer.Option(help="Address of a running Grafana. Default: the setting grafana_url.")
    ] = None,
    without_grafana: Annotated[
        bool, typer.Option("--without-grafana", help="Ask the database alone, whatever is set.")
    ] = False,
    minutes: Annotated[float, typer.Option(min=0, max=120, help="Longest wait for Grafana.")] = 15.0,
    as_json: JsonFlag = False,
) -> None:
    """Make each alert's condition true, report what fires and what arrives, and take everything back.

    Without a Grafana nobody else sees anything of it. With one, machines and profiles named drill are on the screens
    meanwhile, and people get messages that begin with the word drill.
    """
    from appliance import drill as drills
    from appliance.children import terminating
    from appliance.drill_grafana import Grafana
    from appliance.store import engine

    box = settings.load()
    rules = drills.chosen(only or [])
    store = engine.connect(box.require_dsn(), application="appliance-drill")
    address = None if without_grafana else grafana or box.grafana_url
    if address is None:
        report = drills.by_sql(store, rules)
    else:
        server = Grafana(address, box.grafana_login.get_secret_value() if box.grafana_login else "")
        hint(f"Grafana {server.version()} at {server.url}: at most {minutes:g} minutes.")
        with terminating():
            report = drills.by_grafana(store, rules, server, minutes, hint)
    if as_json:
        emit(report.as_dict())
    else:
        asked = report.by == "grafana"
        table((_row(one, asked) for one in report.alerts), ("alert", "came of it", *(_ARRIVAL if asked else ())))
        if report.by == "sql":
            say(
                f"No Grafana was asked: its statements and bounds were, as {report.seen_by}. Whether messages reach"
                " people: `appliance notify test`."
            )
    if not report.is_well:
        raise typer.Exit(1)


def _row(one: Drilled, asked: bool) -> tuple[object, ...]:
    came = f"{one.state}, as before the drill" if one.fired_before and one.state == "fires" else one.state
    return (one.title, came, one.arrived, one.sent, one.why) if asked else (one.title, came)
