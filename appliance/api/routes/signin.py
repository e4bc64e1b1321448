"""The pages of whoever signs in: they show and ask; :mod:`appliance.api.door` decides."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from appliance.api import html, origin
from appliance.api.auth import COOKIE, Principal
from appliance.api.door import SignedIn
from appliance.api.html import MAY, Page
from appliance.api.state import Api, State
from appliance.errors import ApplianceError, Forbidden, NotFound, TooManyRequests
from appliance.store import sessions, users

router = APIRouter(include_in_schema=False, route_class=Page)

_HOME = "/account"


@router.get("/")
async def home() -> Response:
    return html.see(_HOME)


@router.get("/sign-in")
async def ask(request: Request, api: State) -> Response:
    wanted = origin.landing(request, api.settings, request.query_params.get("next"))
    if await html.whose(request) is not None:
        return html.see(wanted or _HOME)
    done = "You are signed out." if "out" in request.query_params else ""
    return _ask(request, wanted, done=done)


@router.post("/sign-in")
async def sign_in(request: Request, api: State) -> Response:
    given = await html.form(request)
    wanted = origin.landing(request, api.settings, given.get("next"))
    name, password = given.get("name", ""), given.get("password", "")
    try:
        signed = await api.door.sign_in(name, password, origin.address(request), request.cookies.get(COOKIE))
    except ApplianceError as error:
        return _ask(request, wanted, name=name, error=error)
    return _signed(request, signed, wanted)


@router.post("/sign-out")
async def sign_out(request: Request, api: State) -> Response:
    origin.demand_own(request, api.settings)
    cookie = request.cookies.get(COOKIE)
    if cookie:

        def end() -> None:
            with api.transaction() as connection:
                sessions.end(connection, cookie)

        await run_in_threadpool(end)
    response = html.see("/sign-in?out")
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return response


@router.get("/welcome/{link}")
def welcome(request: Request, api: State, link: str) -> Response:
    """Looking does not use the link up: mail filters and messengers look too."""
    return _welcome(request, api.door.welcomed(link))


@router.post("/welcome/{link}")
async def choose(request: Request, api: State, link: str) -> Response:
    given = await html.form(request)
    try:
        signed = await api.door.choose_password(link, given.get("new", ""), given.get("again", ""))
    except NotFound:
        raise
    except ApplianceError as error:
        return _welcome(request, await run_in_threadpool(api.door.welcomed, link), error)
    return _signed(request, signed, None)


@router.get("/enter/{link}")
async def enter(request: Request, api: State, link: str) -> Response:
    if "prefetch" in request.headers.get("sec-purpose", request.headers.get("purpose", "")):
        raise TooManyRequests("This link is for opening, not for looking ahead.", "Open it.", retry_after=1)
    wanted = origin.landing(request, api.settings, request.query_params.get("next"))
    try:
        signed = await run_in_threadpool(api.door.enter, link)
    except NotFound:
        # Opened a second time, in the browser that the first one signed in.
        if await html.whose(request) is None:
            raise
        return html.see(wanted or _HOME)
    return _signed(request, signed, wanted)


@router.get("/account")
async def account(request: Request, api: State) -> Response:
    who = await html.whose(request)
    if who is None:
        return html.see(f"/sign-in{origin.back_here(request)}")
    done = {"password": "Your password is changed.", "sessions": "You are signed out everywhere else."}
    said = done.get(request.query_params.get("done", ""), "")
    return await run_in_threadpool(_account, request, api, who, done=said)


@router.post("/account/password")
async def change_password(request: Request, api: State) -> Response:
    given, who = await html.form(request), await _own(request)
    if who is None:
        return html.see("/sign-in")
    words = (given.get("current", ""), given.get("new", ""), given.get("again", ""))
    try:
        signed = await api.door.change_password(who, *words, origin.address(request))
    except ApplianceError as error:
        return await run_in_threadpool(_account, request, api, who, error=error)
    return _signed(request, signed, f"{_HOME}?done=password")


@router.post("/account/sessions")
async def end_others(request: Request, api: State) -> Response:
    origin.demand_own(request, api.settings)
    who = await _own(request)
    if who is None:
        return html.see("/sign-in")

    def end() -> None:
        with api.transaction() as connection:
            sessions.end_others(connection, users.get(connection, who.name), request.cookies[COOKIE])

    await run_in_threadpool(end)
    return html.see(f"{_HOME}?done=sessions")


def _signed(request: Request, signed: SignedIn, wanted: str | None) -> Response:
    request.state.who = signed.user.name
    return html.set_cookie(request, html.see(wanted or _HOME), signed.cookie, signed.lifetime)


def _ask(
    request: Request, wanted: str | None, *, name: str = "", error: ApplianceError | None = None, **more: Any
) -> Response:
    # A browser follows the answer to a form only to where the page's policy allows.
    form_to = origin.elsewhere(wanted) if wanted else ""
    return html.render(request, "sign_in.html", error=error, form_to=form_to, name=name, next=wanted, **more)


def _welcome(request: Request, user: users.User, error: ApplianceError | None = None) -> Response:
    return html.render(request, "welcome.html", error=error, user=user, may=MAY[user.role])


def _account(
    request: Request, api: Api, who: Principal, *, error: ApplianceError | None = None, done: str = ""
) -> Response:
    zone = ZoneInfo(api.settings.timezone)

    def shown(moment: datetime | None) -> str:
        return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}" if moment else ""

    with api.transaction() as connection:
        found = sessions.of(connection, users.get(connection, who.name), request.cookies[COOKIE], api.door.idle)
    rows = [{"since": shown(s["created_at"]), "used": shown(s["last_used_at"]), "own": s["own"]} for s in found]
    until = shown(who.expires_at)
    return html.render(
        request, "account.html", error=error, done=done, who=who, may=MAY[who.role], until=until, sessions=rows
    )


async def _own(request: Request) -> Principal | None:
    """Who may change their own account; Forbidden for a station: whoever stands before it would lock out the others."""
    who = await html.whose(request)
    if who is not None and who.station:
        raise Forbidden("A station cannot do this.", "An administrator makes a new link for it.")
    return who
