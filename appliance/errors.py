"""The errors that a user may meet.

Each owns its HTTP status, a stable code, one clear sentence, and the way out::

    ApplianceError               500 internal
    |- SettingError              500 setting            a setting is wrong or missing
    |- UsageError                400 usage              a command was called with wrong words
    |- ProfileError              422 profile            a profile is wrong: place and reason
    |- FileRefused               422 file.<reason>      a dropped or given file cannot be taken as a whole
    |- BundleRefused             422 bundle.<reason>    a model is not fit to serve
    |- TrainingFailed            422 training.<reason>  nothing was published
    |- RequestError              400 request
    |  |- RowsRefused            422 rows               some rows break the contract: each with its reasons
    |  |- Unauthorized           401 unauthorized
    |  |- Forbidden              403 forbidden
    |  |- NotFound               404 not_found
    |  |- Conflict               409 conflict
    |  |- TooLarge               413 too_large
    |  |- UnsupportedMedia       415 unsupported_media
    |  |- KeyReused              422 idempotency_key
    |  `- TooManyRequests        429 too_many_requests
    |- DiskTrouble               500 disk               the disk is full, or fails
    |- BackupTrouble             500 backup.<reason>    a backup cannot be made, is damaged, or cannot be brought back
    |- BucketTrouble             503 bucket.<reason>    the store does not take, give or confirm what it should
    |- NotReady                  503 not_ready          no model serves this profile yet
    |- StoreAway                 503 store_away         Postgres cannot be reached; nothing was stored
    `- ApiAway                   503 api_away           the API cannot be reached
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class ApplianceError(Exception):
    """Base of all errors that are shown to a user.

    ``message`` says what is wrong in one sentence, ``way_out`` what to do about it.
    """

    status: ClassVar[int] = 500
    code: str = "internal"

    def __init__(self, message: str, way_out: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.way_out = way_out

    def __str__(self) -> str:
        return f"{self.message} {self.way_out}".strip()

    def details(self) -> Mapping[str, Any]:
        """Further members of the problem document (RFC 9457)."""
        return {}


class SettingError(ApplianceError):
    code = "setting"


class UsageError(ApplianceError):
    status = 400
    code = "usage"


class ProfileError(ApplianceError):
    """A profile is refused; ``place`` is a path such as ``columns[3] (torque).range``."""

    status = 422
    code = "profile"

    def __init__(self, source: str, place: str, reason: str) -> None:
        where = f"{source}: {place}" if place else source
        super().__init__(f"{where}: {reason}.", "Mend the profile and run `appliance profile check`.")
        self.place = place
        self.reason = reason


class _WithReason(ApplianceError):
    status = 422
    family: ClassVar[str] = ""

    def __init__(self, reason: str, message: str, way_out: str = "") -> None:
        super().__init__(message, way_out)
        self.reason = reason
        self.code = f"{self.family}.{reason}"


class FileRefused(_WithReason):
    """A file cannot be taken as a whole; ``reason`` is a stable word that is counted."""

    family = "file"


class BundleRefused(_WithReason):
    """A model is not fit to serve; the one before it keeps serving."""

    family = "bundle"


class TrainingFailed(_WithReason):
    """Training ended without anything published."""

    family = "training"


class BucketTrouble(_WithReason):
    """S3 and the box do not come together.

    ``reason`` is a stable word: ``away`` (no answer, or none that can be used), ``denied`` (keys, rights, no bucket),
    ``full``, ``digest`` (other bytes than were sent), ``refused`` (anything else that it said), ``changed`` and ``gone`` (what was to
    be sent is not what it was, or not there). The first three are the whole store's, the others a single object's.
    """

    family = "bucket"
    status = 503


class BackupTrouble(_WithReason):
    """A backup and the box do not come together.

    ``reason`` is a stable word: ``place`` (nowhere to put it), ``room``, ``tools`` (a program of PostgreSQL is missing, or
    failed), ``damaged`` (other bytes, or other rows, than were written), ``gone``, ``version``, ``key``, ``in_use``
    (services run).
    """

    family = "backup"
    status = 500


class RequestError(ApplianceError):
    status = 400
    code = "request"


class RowsRefused(RequestError):
    """Some rows break the contract; ``rows`` holds ``{row, reasons}`` for each (at most the first 100)."""

    status = 422
    code = "rows"

    def __init__(self, message: str, rows: Sequence[Mapping[str, Any]], way_out: str = "") -> None:
        super().__init__(message, way_out)
        self.rows = list(rows)

    def details(self) -> Mapping[str, Any]:
        return {"rows": self.rows}


class Unauthorized(RequestError):
    status = 401
    code = "unauthorized"


class Forbidden(RequestError):
    status = 403
    code = "forbidden"


class NotFound(RequestError):
    status = 404
    code = "not_found"


class Conflict(RequestError):
    status = 409
    code = "conflict"


class TooLarge(RequestError):
    status = 413
    code = "too_large"


class UnsupportedMedia(RequestError):
    status = 415
    code = "unsupported_media"


class KeyReused(RequestError):
    status = 422
    code = "idempotency_key"


class DiskTrouble(ApplianceError):
    """The box's own disk or limits, and no fault of what was being worked on."""

    code = "disk"


class _Later(ApplianceError):
    status = 503

    def __init__(self, message: str, way_out: str = "", *, retry_after: int = 5) -> None:
        super().__init__(message, way_out)
        self.retry_after = retry_after


class TooManyRequests(_Later, RequestError):
    status = 429
    code = "too_many_requests"


class NotReady(_Later):
    code = "not_ready"


class StoreAway(_Later):
    code = "store_away"


class ApiAway(_Later):
    code = "api_away"
