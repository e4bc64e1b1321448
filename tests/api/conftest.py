"""A box with both profiles trained small, its app in a real server, and a client for each role."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from appliance import bundle, signing
from appliance.api.app import create_app
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import principals
from tests import small_models
from tests.conftest import Cluster


@dataclass(frozen=True)
class Shelf:
    """Published bundles: two versions of the mill, of which the first is active, and one of the pump."""

    folder: Path
    milling: tuple[str, str]
    pump: str


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return stock(tmp_path_factory.mktemp("shelf"))


def stock(folder: Path) -> Shelf:
    """Train, publish and activate."""
    key = folder / "keys" / "signing.key"
    key.parent.mkdir()
    signing.create_key(key)
    models = folder / "models"
    models.mkdir()
    first, second = (bundle.publish(small_models.files("milling", seed), models, key).version for seed in (0, 1))
    pump = bundle.publish(small_models.files("pump"), models, key).version
    keys = signing.trusted_keys(folder / "keys")
    bundle.activate(models, "milling", first, keys)
    bundle.activate(models, "pump", pump, keys)
    return Shelf(folder, (first, second), pump)


@pytest.fixture
def settings(tmp_path: Path, dsn: str, shelf: Shelf) -> Settings:
    """A box of its own with all models."""
    return box(tmp_path / "box", dsn, shelf)


@pytest.fixture
def token(engine: Engine) -> Callable[..., str]:
    """Make a token: ``token("viewer")``, ``token("operator", source="webapp")``."""
    return partial(make_token, engine)


@pytest.fixture
def app(settings: Settings, engine: Engine) -> FastAPI:
    return create_app(settings, engine)


@pytest.fixture
def address(app: FastAPI, tmp_path: Path) -> Iterator[Path]:
    """The unix socket of the running app."""
    with running(app, tmp_path / "api.sock") as socket:
        yield socket


@dataclass
class People:
    """Clients by role and source, made when they are asked for."""

    app: FastAPI
    address: Path
    token: Callable[..., str]
    made: dict[tuple[str, str], httpx.Client] = field(default_factory=dict)

    @property
    def nobody(self) -> httpx.Client:
        """Without a token."""
        if ("", "") not in self.made:
            self.made["", ""] = browser(self.address)
        return self.made["", ""]

    def __call__(self, role: str, source: str = "api") -> httpx.Client:
        if (role, source) not in self.made:
            self.made[role, source] = browser(self.address, self.token(role, source))
        return self.made[role, source]

    def close(self) -> None:
        for client in self.made.values():
            client.close()


@pytest.fixture
def people(app: FastAPI, address: Path, token: Callable[..., str]) -> Iterator[People]:
    people = People(app, address, token)
    yield people
    people.close()


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory, embedded_cluster: Cluster, shelf: Shelf) -> Iterator[People]:
    """People of a box that all tests share: for those that store nothing."""
    folder = tmp_path_factory.mktemp("still")
    dsn = embedded_cluster.dsn(embedded_cluster.create())
    engine = engines.connect(dsn, "tests")
    app = create_app(box(folder / "box", dsn, shelf), engine)
    with running(app, folder / "api.sock") as socket:
        people = People(app, socket, partial(make_token, engine))
        yield people
        people.close()
    engine.dispose()


@pytest.fixture
def operator(people: People) -> httpx.Client:
    return people("operator")


@pytest.fixture
def viewer(people: People) -> httpx.Client:
    return people("viewer")


def box(folder: Path, dsn: str, shelf: Shelf) -> Settings:
    shutil.copytree(shelf.folder, folder)
    return Settings(data_dir=folder, dsn=dsn, api_guesses_per_minute=3, api_body_mb=1)


def make_token(engine: Engine, role: Any, source: Any = "api", name: str = "", **more: Any) -> str:
    with engines.transaction(engine) as connection:
        return principals.create_token(connection, name or f"{role} by {source}", role, source, **more)


def browser(address: Path, token: str | None = None) -> httpx.Client:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    transport = httpx.HTTPTransport(uds=str(address))
    return httpx.Client(base_url="http://appliance", transport=transport, headers=headers, timeout=30)


@contextmanager
def running(app: FastAPI, address: Path) -> Iterator[Path]:
    """The app in a real server on a unix socket, in a thread of its own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(address))
        with _running(app, listener):
            yield address


@contextmanager
def running_tcp(app: FastAPI) -> Iterator[str]:
    """The same on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener, _running(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def _running(app: FastAPI, listener: socket.socket) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", server_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        thread.join()
