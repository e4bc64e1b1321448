"""The API's client, shared by screens, schedules and commands: HTTP or a unix socket, errors as they were raised there.

    with Client("http://127.0.0.1:8000", token) as api:
        answer = api.predict_rows([{"torque": 42.8, ...}], profile="milling", machine="mill-1")

Answers are the API's JSON objects as they come; ``GET /openapi.json`` describes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self
from urllib.parse import quote

from appliance import errors
from appliance.errors import ApiAway, ApplianceError

if TYPE_CHECKING:
    from datetime import datetime

    from httpx import Response

    from appliance.settings import Settings

Json = dict[str, Any]

SESSION_COOKIE = "appliance_session"

_START = "Is it running? `appliance api` starts it."
_FORMATS = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
_BLOCK = 1024 * 1024
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
# A part of 100,000 rows on a small box that is busy otherwise.
_PREDICT_SECONDS = 180.0


class Client:
    """One connection pool. Every method raises the :mod:`appliance.errors` that the API met, or ApiAway."""

    def __init__(
        self, address: str | Path, token: str | None = None, *, session: str | None = None, person: str = ""
    ) -> None:
        """``address`` is a URL, or the path of the API's unix socket.

        For a screen: ``session`` is the cookie ``appliance_session`` of the browser that it shows to, in the place of a
        token, and ``person`` who says to stand before it, where that is a station.
        """
        import httpx  # 0.15 s that who only mentions this module need not pay

        self._httpx = httpx
        headers = {"authorization": f"Bearer {token}"} if token else _session_headers(session, person)
        self._socket = address if isinstance(address, Path) else None
        self._where = str(address)
        self._http = httpx.Client(
            base_url="http://appliance" if self._socket else str(address),
            headers=headers,
            # A proxy that the environment names is for the internet, not for the box itself.
            transport=httpx.HTTPTransport(uds=str(address) if self._socket else None, trust_env=False),
            trust_env=False,
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
        )

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The client that the settings describe: their socket, else their URL, with their token."""
        token = settings.api_token.get_secret_value() if settings.api_token else None
        return cls(settings.base_url if settings.api_url or not settings.api_socket else settings.api_socket, token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Predictions

    def predict_rows(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        profile: str | None = None,
        machine: str | None = None,
        time: str | None = None,
        idempotency_key: str | None = None,
        store: bool = True,
    ) -> Json:
        """Predict rows of code names and store them; RowsRefused, and nothing stored, where one breaks the contract.

        Without ``store``: what the model says, and nothing is kept.
        """
        body = {"rows": list(rows), **_given(machine=machine, time=time)}
        return self._post_predict(
            json.dumps(body, allow_nan=False).encode(),
            "application/json",
            _given(profile=profile, store=None if store else "false"),
            idempotency_key,
        )

    def predict_file(
        self,
        file: Path | bytes,
        *,
        format: Literal["csv", "parquet"] | None = None,  # noqa: A002 - the word that users know
        profile: str | None = None,
        machine: str | None = None,
        time: str | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Predict the good rows of a CSV or Parquet file and store them; the bad ones come back with their reasons.

        ``format`` follows from the name of a path, and has to be said for bytes.
        """
        suffix = f".{format}" if format else file.suffix.lower() if isinstance(file, Path) else ""
        if suffix not in _FORMATS:
            raise errors.UsageError("It is not clear whether this is CSV or Parquet.", "Say format='csv' or 'parquet'.")
        data = file.read_bytes() if isinstance(file, Path) else file
        query = _given(profile=profile, machine=machine, time=time)
        return self._post_predict(data, _FORMATS[suffix], query, idempotency_key)

    # A file that a person hands in

    def check_file(self, file: BinaryIO, *, name: str, profile: str | None = None, machine: str | None = None) -> Json:
        """What is bad in a CSV or Parquet file (as its ``name`` says). Its bytes go by in pieces; nothing is predicted."""
        suffix = ".parquet" if name.lower().endswith((".parquet", ".pq")) else ".csv"
        blocks = iter(lambda: file.read(_BLOCK), b"")
        query = _given(name=name, profile=profile, machine=machine)
        headers = {"content-type": _FORMATS[suffix]}
        return self._json(
            "POST", "/file-checks", content=blocks, headers=headers, params=query, timeout=_PREDICT_SECONDS
        )

    def file_checks(self) -> list[Json]:
        """Files that one handed in lately, in short, the newest first."""
        return self._items("/file-checks")

    def file_check(self, check_id: str) -> Json:
        return self._json("GET", f"/file-checks/{_step(check_id)}")

    def predict_next(self, check_id: str) -> Json:
        """Predict and store the next good rows of a checked file; call it until ``done``."""
        return self._json("POST", f"/file-checks/{_step(check_id)}/predict", timeout=_PREDICT_SECONDS)

    def file_check_rows(self, check_id: str, **filters: Any) -> list[Json]:
        """Predicted rows, those likeliest to fail first. Filters: ``verdict``, ``limit``, ``offset``."""
        return self._items(f"/file-checks/{_step(check_id)}/rows", **filters)

    def forget_file_check(self, check_id: str) -> None:
        self._send("DELETE", f"/file-checks/{_step(check_id)}")

    # Stored predictions

    def predict_part(self, part_id: int) -> Json:
        """Predict one waiting part: ``{part_id, rows, failing, already}``; Conflict where another does it right now."""
        return self._json("POST", f"/parts/{part_id}/predict", timeout=_PREDICT_SECONDS)

    def parts(self, state: str = "waiting", limit: int = 100) -> list[Json]:
        return self._items("/parts", state=state, limit=limit)

    def predictions(self, *, at_most: int | None = None, **filters: Any) -> Iterator[Json]:
        """Predictions, the newest first, page by page. Filters are those of ``GET /predictions``; ``from_`` is from."""
        return self._pages("/predictions", at_most, filters)

    def prediction_page(self, *, limit: int = 100, cursor: str | None = None, **filters: Any) -> Json:
        """One page of the same: ``items``, and ``next``, the cursor of the page after it."""
        query = _given(limit=limit, cursor=cursor, **filters)
        return self._json("GET", "/predictions", params=query)

    def prediction_counts(self, **filters: Any) -> Json:
        """How many rows of a filter pass and fail, hour by hour or day by day."""
        query = _given(**filters)
        return self._json("GET", "/predictions/counts", params=query, timeout=_PREDICT_SECONDS)

    def save_predictions(self, target: BinaryIO, **filters: Any) -> None:
        """Write all that a filter matches into ``target`` as CSV, piece by piece; ``readings=True`` adds the features."""
        query = _given(**filters)
        with self._talking(), self._http.stream("GET", "/predictions/export", params=query) as response:
            if not response.is_success:
                response.read()
                self._refuse(response)
            for block in response.iter_bytes():
                target.write(block)

    def prediction(self, prediction_id: int) -> Json:
        return self._json("GET", f"/predictions/{prediction_id}")

    # Why, and what came of it

    def explain(self, prediction_id: int, *, curve: str | None = None) -> Json:
        """Why a stored prediction is as it is; ``curve`` names a reading to draw the probability over."""
        return self._json("POST", "/explain", json={"prediction_id": prediction_id, **_given(curve=curve)})

    def what_if(
        self,
        row: Mapping[str, Any],
        *,
        profile: str | None = None,
        machine: str | None = None,
        time: str | None = None,
        curve: str | None = None,
    ) -> Json:
        """The same for a row of code names that is tried out and stored nowhere; RowsRefused where it breaks the contract."""
        given = _given(profile=profile, machine=machine, time=time, curve=curve)
        return self._json("POST", "/explain", json={"row": dict(row), **given})

    def outcome(
        self,
        kind: Literal["failure", "false_alarm", "missed_failure", "planned_work"],
        *,
        alarm_id: int | None = None,
        prediction_id: int | None = None,
        machine: str | None = None,
        profile: str | None = None,
        happened_at: str | datetime | None = None,
        note: str = "",
        idempotency_key: str | None = None,
    ) -> Json:
        """Say what really happened, about one of ``alarm_id``, ``prediction_id`` and ``machine``."""
        about = {"alarm_id": alarm_id, "prediction_id": prediction_id}
        body = {"kind": kind, "note": note, **{name: value for name, value in about.items() if value is not None}}
        body |= _given(machine=machine, profile=profile, happened_at=happened_at)
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        return self._json("POST", "/outcomes", json=body, headers=headers)

    def outcomes(self, *, at_most: int | None = None, **filters: Any) -> Iterator[Json]:
        """What people told, the newest first, page by page. Filters are those of ``GET /outcomes``."""
        return self._pages("/outcomes", at_most, filters)

    def record(self, **filters: Any) -> Json:
        """How good the warnings were. Filters are those of ``GET /outcomes/record``; ``from_`` is from."""
        return self._json("GET", "/outcomes/record", params=_given(**filters))

    # Files

    def files(self, *, at_most: int | None = None, **filters: Any) -> Iterator[Json]:
        """Files, the newest first, page by page. Filters are those of ``GET /files``."""
        return self._pages("/files", at_most, filters)

    def file(self, file_id: int) -> Json:
        return self._json("GET", f"/files/{file_id}")

    def issues(self, file_id: int) -> list[Json]:
        return self._items(f"/files/{file_id}/issues")

    def issue_totals(self, **filters: Any) -> list[Json]:
        """What rows of all files broke, by rule and column. Filters are those of ``GET /issues``; ``from_`` is from."""
        return self._items("/issues", **filters)

    def file_report(self, file_id: int) -> str:
        """The file's quality report, a page of HTML that needs nothing else."""
        return self._send("GET", f"/files/{file_id}/report").text

    def bad_rows(self, file_id: int) -> bytes:
        """The file's bad rows as CSV, to be mended and dropped again."""
        return self._send("GET", f"/files/{file_id}/bad").content

    def correct(self, file_id: int, rows: bytes) -> Json:
        """Send the file's bad rows back, mended: they go into the drop folder. RowsRefused where not one is good."""
        headers = {"content-type": _FORMATS[".csv"]}
        return self._json("POST", f"/files/{file_id}/corrections", content=rows, headers=headers)

    def corrections(self, file_id: int) -> list[Json]:
        """Files of mended rows that came back of this one."""
        return self._items(f"/files/{file_id}/corrections")

    # The plant, machines and alarms

    def ages(self) -> Json:
        """The newest reading, file and prediction of machines, and ``now`` by the same clock."""
        return self._json("GET", "/ages")

    def day(self, **filters: Any) -> Json:
        """What came since midnight in plant time, and what became of it. Filters are those of ``GET /day``."""
        return self._json("GET", "/day", params=_given(**filters))

    def machines(self, profile: str | None = None, machine: str | None = None) -> list[Json]:
        """How each was last, its open alarm, and what is wrong with it."""
        return self._items("/machines", profile=profile, machine=machine)

    def alarms(self, state: str = "open", *, at_most: int | None = None, **filters: Any) -> list[Json]:
        return list(self._pages("/alarms", at_most, {"state": state, **filters}))

    def alarm(self, alarm_id: int) -> Json:
        return self._json("GET", f"/alarms/{alarm_id}")

    def ack(self, alarm_id: int, note: str = "") -> Json:
        return self._json("POST", f"/alarms/{alarm_id}/ack", json={"note": note})

    def snooze(self, alarm_id: int, minutes: int) -> Json:
        return self._json("POST", f"/alarms/{alarm_id}/snooze", json={"minutes": minutes})

    # Profiles and models

    def profiles(self) -> list[Json]:
        return self._items("/profiles")

    def profile(self, name: str) -> Json:
        return self._json("GET", f"/profiles/{_step(name)}")

    def models(self, profile: str | None = None) -> list[Json]:
        return self._items("/models", profile=profile)

    def model_card(self, version: str, profile: str | None = None) -> str:
        """The model's card as Markdown, out of its signed bundle."""
        return self._send("GET", f"/models/{_step(version)}/card", params=_given(profile=profile)).text

    def model_plot(
        self,
        version: str,
        plot: Literal["precision_recall", "calibration", "importance"],
        profile: str | None = None,
    ) -> bytes:
        """A plot of the card as PNG."""
        return self._send("GET", f"/models/{_step(version)}/plots/{plot}", params=_given(profile=profile)).content

    def activate(self, version: str, profile: str | None = None) -> Json:
        return self._json("POST", f"/models/{_step(version)}/activate", params=_given(profile=profile))

    def rollback(self, profile: str | None = None) -> Json:
        return self._json("POST", "/models/rollback", params=_given(profile=profile))

    # The API itself

    def health(self) -> Json:
        """``{ready, faults}``; a box that is not ready is an answer here, not an error."""
        response = self._attempt("GET", "/health/ready")
        return self._decoded(response) if response.status_code in (200, 503) else self._refuse(response)

    def faults(self) -> list[Json]:
        """What is wrong with the box, and what to do about it."""
        return self._items("/health/faults")

    def status(self) -> Json:
        """The box at a glance: services, schedule, ages in seconds, what waits, disk."""
        return self._json("GET", "/health/status")

    def whoami(self) -> Json:
        return self._json("GET", "/whoami")

    def sign_out(self) -> None:
        """End the session that this client passes on, in the database and so in the browser."""
        response = self._attempt("POST", "/sign-out")
        if not (response.is_success or response.is_redirect):
            self._refuse(response)

    def people(self) -> list[str]:
        """Names that a station offers to whoever stands before it."""
        return [item["name"] for item in self._items("/people")]

    def _post_predict(self, body: bytes, media: str, query: Mapping[str, str], key: str | None) -> Json:
        headers = {"content-type": media, **({"idempotency-key": key} if key else {})}
        return self._json("POST", "/predict", content=body, headers=headers, params=query, timeout=_PREDICT_SECONDS)

    def _pages(self, path: str, at_most: int | None, filters: Mapping[str, Any]) -> Iterator[Json]:
        query = _given(**filters)
        query.setdefault("limit", str(min(at_most or 1000, 1000)))
        left = at_most
        while left is None or left > 0:
            page = self._json("GET", path, params=query)
            items = page["items"] if left is None else page["items"][:left]
            yield from items
            if left is not None:
                left -= len(items)
            if page["next"] is None:
                return
            query["cursor"] = page["next"]

    def _items(self, path: str, **query: Any) -> list[Json]:
        items: list[Json] = self._json("GET", path, params=_given(**query))["items"]
        return items

    def _json(self, method: str, path: str, **options: Any) -> Json:
        return self._decoded(self._send(method, path, **options))

    def _decoded(self, response: Response) -> Json:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ApiAway(f"What answers at {self._where} is not the API.", "Mend the setting api_url.")
        return answer

    def _send(self, method: str, path: str, **options: Any) -> Response:
        response = self._attempt(method, path, **options)
        return response if response.is_success else self._refuse(response)

    def _attempt(self, method: str, path: str, **options: Any) -> Response:
        with self._talking():
            return self._http.request(method, path, **options)

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """What keeps the API from being heard, as ApiAway."""
        if self._socket is not None and not self._socket.exists():
            raise ApiAway(f"There is no API at {self._where}.", _START)
        try:
            yield
        except self._httpx.TimeoutException:
            raise ApiAway(f"The API at {self._where} did not answer in time.", "Try again; see its log.") from None
        except (self._httpx.TransportError, self._httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ApiAway(f"The API at {self._where} cannot be reached ({reason}).", _START) from None

    def _refuse(self, response: Response) -> Any:
        if not response.headers.get("content-type", "").startswith("application/problem+json"):
            raise ApiAway(f"{self._where} answered {response.status_code} without a reason.", "Is it the API?")
        raise error_of(self._decoded(response), response.headers.get("retry-after"))


def error_of(problem: Mapping[str, Any], retry_after: str | None = None) -> ApplianceError:
    """The error that a problem document tells of; a code that this version does not know is its base class."""
    message, way_out = str(problem.get("detail", "")), str(problem.get("way_out", ""))
    code = str(problem.get("code", "internal"))
    family, _, reason = code.partition(".")
    error: ApplianceError
    match family:
        case "file" if reason:
            error = errors.FileRefused(reason, message, way_out)
        case "bundle" if reason:
            error = errors.BundleRefused(reason, message, way_out)
        case "training" if reason:
            error = errors.TrainingFailed(reason, message, way_out)
        case "rows":
            error = errors.RowsRefused(message, problem.get("rows", []), way_out)
        case "too_many_requests" | "not_ready" | "store_away" | "api_away":
            seconds = int(retry_after) if retry_after and retry_after.isdigit() else 5
            error = _LATER[family](message, way_out, retry_after=seconds)
        case _:
            error = _PLAIN.get(
                family, errors.RequestError if 400 <= problem.get("status", 500) < 500 else ApplianceError
            )(message, way_out)
            error.code = code
    return error


_LATER: dict[str, Any] = {
    e.code: e for e in (errors.TooManyRequests, errors.NotReady, errors.StoreAway, errors.ApiAway)
}
_PLAIN: dict[str, type[ApplianceError]] = {
    e.code: e
    for e in (
        errors.SettingError,
        errors.UsageError,
        errors.Unauthorized,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.TooLarge,
        errors.UnsupportedMedia,
        errors.KeyReused,
    )
}


def _given(**values: Any) -> dict[str, str]:
    """Query parameters, without those that were left out; a name that Python keeps for itself ends with ``_``."""
    return {
        name.rstrip("_"): value.isoformat() if hasattr(value, "isoformat") else str(value)
        for name, value in values.items()
        if value is not None
    }


def _session_headers(session: str | None, person: str) -> dict[str, str]:
    """A program that passes a session on says that it is one: a page elsewhere could not."""
    # What comes from a browser may be anything; what would be no header is no session either.
    known = session if session and session.isascii() and session.isprintable() and ";" not in session else ""
    headers = {"cookie": f"{SESSION_COOKIE}={known}", "x-appliance-request": "1"} if known else {}
    return headers | ({"x-appliance-person": quote(person)} if person else {})


def _step(name: str) -> str:
    """A name as one step of a path, whatever is in it."""
    return quote(name, safe="")
