"""The app: its parts put together, and what runs beside the requests."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

import appliance
from appliance.api import openapi, problems, pulse
from appliance.api.middleware import Edge
from appliance.api.routes import ROUTERS, predict
from appliance.api.shortcut import Shortcut
from appliance.api.state import Api
from appliance.api.together import Together
from appliance.filecheck import folder
from appliance.serving import Models
from appliance.settings import Settings
from appliance.store.engine import Engine, connect

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 1.0
_SWEEP_LOOKS = 600  # of those
_PULSE_LOOKS = 60
# Requests that touch the database run in 40 threads at most; more connections than this would only wait for the disk.
_CONNECTIONS = 8


def create_app(settings: Settings, engine: Engine | None = None, models: Models | None = None) -> FastAPI:
    """The app of a box. ``engine`` and ``models`` are made from the settings unless given; SettingError without a DSN.

    It starts and answers without a database and without a model: what needs them is 503 until they are there.
    """
    own_engine = engine is None
    if engine is None:
        engine = connect(settings.require_dsn(), application="appliance-api", pool_size=_CONNECTIONS)
    api = Api(settings, engine, models or Models(settings))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(api.refresh)
        watching = asyncio.create_task(_watch(api))
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            if own_engine:
                api.engine.dispose()

    app = FastAPI(
        title="Failure appliance",
        version=appliance.__version__,
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        # Both stock pages load scripts from the internet, which a box on a factory floor does not have.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.api = api
    app.state.together = Together(api)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    description = openapi.Description(app, api.models)

    def describe() -> dict[str, Any]:
        return description.whole()

    app.openapi = describe  # type: ignore[method-assign]
    app.add_middleware(Shortcut, route=predict.ROUTE)
    app.add_middleware(Edge, metrics=api.metrics, body_limit=settings.api_body_mb * 1024 * 1024)
    return app


async def _watch(api: Api) -> None:
    for look in itertools.count():
        try:
            if look % _SWEEP_LOOKS == 0:
                await run_in_threadpool(folder.sweep, api.settings.uploads)
        except Exception:
            log.exception("checked files could not be cleared away")
        await asyncio.sleep(_REFRESH_SECONDS)
        try:
            await run_in_threadpool(api.refresh)
        except Exception:
            log.exception("the look at the models failed")
        if look % _PULSE_LOOKS == _PULSE_LOOKS - 1:
            try:
                await run_in_threadpool(pulse.keep, api)
            except Exception:
                log.exception("the figures of the box could not be taken")
