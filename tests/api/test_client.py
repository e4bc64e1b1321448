"""The client against the real app: every error comes out as it went in."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import errors
from appliance.api import problems, schema
from appliance.client import Client, error_of
from appliance.errors import ApplianceError
from tests import profiles

ROW = schema.example_row(profiles.load("milling"))


@pytest.fixture
def api(address: Path, token: Callable[..., str]) -> Iterator[Client]:
    with Client(address, token("operator")) as client:
        yield client


def every_error() -> Iterator[ApplianceError]:
    """One of each kind that the API can answer."""
    yield errors.FileRefused("empty", "The file is empty.", "Drop it again.")
    yield errors.BundleRefused("signature", "No.", "Sign it.")
    yield errors.TrainingFailed("parity", "No.", "Train again.")
    yield errors.RowsRefused("2 rows break the contract.", [{"row": 1, "reasons": ["a"]}], "Mend them.")
    for later in (errors.TooManyRequests, errors.NotReady, errors.ApiAway):
        yield later("Not now.", "Wait.", retry_after=17)
    for plain in (
        errors.SettingError,
        errors.UsageError,
        errors.RequestError,
        errors.Unauthorized,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.TooLarge,
        errors.UnsupportedMedia,
        errors.KeyReused,
        ApplianceError,
    ):
        yield plain("What is wrong.", "What to do.")


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: error.code)
def test_an_error_survives_the_wire(error: ApplianceError) -> None:
    import json

    response = problems.respond({"path": "/x"}, error)
    back = error_of(json.loads(bytes(response.body)), response.headers.get("retry-after"))
    assert type(back) is type(error)
    assert (back.message, back.way_out, back.code) == (error.message, error.way_out, error.code)
    assert back.details() == error.details()
    assert getattr(back, "retry_after", None) == getattr(error, "retry_after", None)
    assert back.status == response.status_code


def test_a_code_from_a_newer_api_is_an_error_of_its_kind() -> None:
    new = error_of({"status": 418, "code": "teapot", "detail": "Short and stout.", "way_out": ""})
    assert isinstance(new, errors.RequestError)
    assert new.code == "teapot"
    odd = error_of({})
    assert isinstance(odd, ApplianceError)


def test_rows_and_files(api: Client, tmp_path: Path) -> None:
    answer = api.predict_rows([ROW], profile="milling", machine="mill-1", idempotency_key="k")
    assert answer == api.predict_rows([ROW], profile="milling", machine="mill-1", idempotency_key="k")
    assert api.prediction(answer["predictions"][0]["id"])["machine"] == "mill-1"
    csv = tmp_path / "a.CSV"
    csv.write_text(schema.example_csv(profiles.load("milling")))
    assert api.predict_file(csv, profile="milling", machine="mill-2")["rows"]["predicted"] == 1
    assert api.predict_file(csv.read_bytes(), format="csv", profile="milling")["rows"]["predicted"] == 1
    with pytest.raises(errors.UsageError):
        api.predict_file(csv.read_bytes())
    with pytest.raises(errors.FileRefused) as refused:
        api.predict_file(b"PAR1", format="parquet", profile="milling")
    assert refused.value.reason
    with pytest.raises(errors.RowsRefused) as bad:
        api.predict_rows([ROW | {"torque": -1}], profile="milling")
    assert bad.value.rows[0]["row"] == 1
    with pytest.raises(errors.RequestError):
        api.predict_rows([ROW])
    with pytest.raises(errors.NotFound):
        api.prediction(10**9)
    with pytest.raises(errors.Forbidden):
        api.activate("x", "milling")
    with pytest.raises(errors.NotFound):
        api.profile("no/such profile?")
    assert api.whoami()["role"] == "operator"
    assert {profile["name"] for profile in api.profiles()} == {"milling", "pump"}
    assert api.profile("pump")["takes_machine"] is False
    assert len(api.models("milling")) == 2
    assert api.health()["ready"] is True


def test_without_a_token_there_is_health_and_nothing_else(address: Path) -> None:
    with Client(address) as client:
        assert client.health()["faults"] == []
        with pytest.raises(errors.Unauthorized):
            client.profiles()


def test_an_api_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    for nowhere in (tmp_path / "none.sock", "http://127.0.0.1:1", "http://"):
        with Client(nowhere) as client, pytest.raises(errors.ApiAway) as away:
            client.health()
        assert away.value.way_out


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nhalf",
        b"rubbish\r\n\r\n",
        b"",
    ],
)
def test_whatever_answers_instead_of_the_api_is_not_taken_for_it(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with Client(f"http://127.0.0.1:{server.getsockname()[1]}", "t") as client, pytest.raises(errors.ApiAway):
            client.profiles()
        thread.join()


def test_who_only_names_the_client_does_not_pay_for_http() -> None:
    code = "import sys, appliance.client; assert not {'httpx', 'polars', 'pydantic', 'sqlalchemy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
