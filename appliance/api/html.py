"""Pages for people: rendered here, without a script, a font or a picture, under a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl

from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from appliance import passwords
from appliance.api import origin, problems
from appliance.api.auth import COOKIE, Principal
from appliance.errors import ApplianceError, RequestError, UnsupportedMedia
from appliance.settings import Settings
from appliance.store.rows import Role

MAY: Mapping[Role, str] = {
    "viewer": "look at predictions, files, machines and alarms",
    "operator": "look at everything, ask for predictions and answer alarms",
    "engineer": "do what an operator may, and decide which model serves",
    "admin": "do everything",
}

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20


class Page(APIRoute):
    """A route for people: what goes wrong is a page too, in one sentence."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_as_page(request: Request) -> Response:
            try:
                return await handle(request)
            except ApplianceError as error:
                return render(request, "refused.html", error=error)

        return handle_as_page


def render(
    request: Request, template: str, *, error: ApplianceError | None = None, form_to: str = "", **values: Any
) -> Response:
    """The page; with an error its status and its sentence. ``form_to``: another origin that a form may lead to."""
    settings: Settings = request.app.state.api.settings
    if error:
        problems.note(request, error)
    known = {
        "site": "" if settings.site == Settings.model_fields["site"].default else settings.site,
        "style": Markup(_style()),  # noqa: S704 - our own file
        "shortest": passwords.SHORTEST,
        "error": f"{problems.message_of(error)} {error.way_out}".strip() if error else "",
        "done": "",
        **values,
    }
    text = _environment().get_template(template).render(known)
    headers = {
        "content-security-policy": _policy(form_to),
        # Without our own origin in what a form sends nobody could tell it from a stranger's; others get nothing.
        "referrer-policy": "same-origin",
        **(problems.headers_of(error) if error else {}),
    }
    return HTMLResponse(text, error.status if error else 200, headers=headers)


def see(path: str) -> Response:
    """Go and look there."""
    return RedirectResponse(path, 303)


async def form(request: Request) -> dict[str, str]:
    """The fields of a form of ours; Forbidden where another page sent it, RequestError where it is none."""
    origin.demand_own(request, request.app.state.api.settings)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise UnsupportedMedia("This address takes what its page sends.", "Open the page in a browser.")
    try:
        body = (await request.body()).decode("ascii")
        return dict(parse_qsl(body, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise RequestError("The form cannot be read.", "Open the page anew and try again.") from None


def set_cookie(request: Request, response: Response, value: str, lifetime: timedelta) -> Response:
    """Hand the session to the browser: scripts cannot read it, and other sites' forms do not bring it along.

    Lax, not Strict: who follows the link in a message is signed in already.
    """
    response.set_cookie(
        COOKIE,
        value,
        max_age=int(lifetime.total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=origin.secure(request, request.app.state.api.settings),
    )
    return response


async def whose(request: Request) -> Principal | None:
    """Who is signed in with the browser's session, None where nobody is."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    found: Principal | None = await run_in_threadpool(request.app.state.api.session, cookie)
    if found is not None:
        request.state.who = found.name
    return found


def _policy(form_to: str) -> str:
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    forms = f"'self' {form_to}".strip()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
    )


@cache
def _style() -> str:
    return files("appliance").joinpath("templates/person.css").read_text("utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("appliance"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
