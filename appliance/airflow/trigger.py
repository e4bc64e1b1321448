"""Starting a DAG now, by hand or where nobody wants to wait for its turn."""

from __future__ import annotations

from urllib.parse import quote

from appliance.airflow import secrets
from appliance.airflow.calls import Away, call
from appliance.airflow.config import home_url
from appliance.errors import ApiAway, NotFound, Unauthorized
from appliance.settings import Settings

_SECONDS = 30.0


def trigger(settings: Settings, dag: str) -> str:
    """Have a run of that DAG wait for its turn; the id of the run.

    It signs in with the first user's password. ApiAway, Unauthorized, NotFound.
    """
    url = home_url(settings)
    who = {"username": secrets.ADMIN, "password": secrets.read_password(settings)}
    try:
        status, signed = call(f"{url}/auth/token", _SECONDS, who)
        if status == 401:
            raise Unauthorized(
                f"Airflow does not take the password in {secrets.password_file(settings)}.",
                "`appliance airflow password` sets a new one.",
            )
        if signed is not None:
            address = f"{url}/api/v2/dags/{quote(dag, safe='')}/dagRuns"
            status, run = call(address, _SECONDS, {"logical_date": None}, signed["access_token"])
            if run is not None:
                return str(run["dag_run_id"])
            if status == 404:
                raise NotFound(f"Airflow has no DAG {dag!r}.", "`appliance airflow init` makes them known.")
    except (Away, KeyError, TypeError):
        raise ApiAway(f"Airflow's api-server does not answer at {url}.", "Is it running? Its log says more.") from None
    raise ApiAway(f"Airflow did not start {dag!r} (HTTP {status}).", "The log of its api-server says why.")
