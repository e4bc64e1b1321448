"""The S3 bucket: AWS, or any store that speaks the same language. What it answers is told in the words of this house.

boto3 takes 0.8 seconds of a core and 20 MiB to load; it is loaded when a bucket is first asked, by processes that copy,
and by no other.
"""

from __future__ import annotations

import base64
import hashlib
import io
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from appliance.errors import BucketTrouble, SettingError
from appliance.pace import Pace
from appliance.settings import Settings

# Each request, before the whole pass is given up for now; the pauses between are the library's, with jitter.
ATTEMPTS = 3
CONNECT_SECONDS = 10
ANSWER_SECONDS = 60
_BLOCK = 1 << 16

_DENIED = frozenset(
    {"AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "NoSuchBucket",
     "AuthorizationHeaderMalformed", "PermanentRedirect", "SignatureDoesNotMatch", "TokenRefreshRequired"}
)  # fmt: skip
_FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "ServiceQuotaExceeded", "StorageFull", "XMinioStorageFull"})
_DIGEST = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "InvalidPart"}
)
_BUSY = frozenset({"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "503 Slow Down"})


class UploadGone(Exception):
    """The store knows nothing of this upload in parts: it was completed, or cleared away."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the store has under a key. ``checksum``: its SHA-256 as S3 writes it, '' where the store tells none.
    ``is_sealed``: encrypted by a key in KMS, whose ETags are not made of the bytes."""

    size: int
    etag: str
    checksum: str
    is_sealed: bool


@dataclass(frozen=True, slots=True)
class Listed:
    key: str
    size: int
    etag: str


class Bucket:
    """One bucket; BucketTrouble from every method where the store does not do as it should."""

    def __init__(self, settings: Settings, pace: Pace | None = None) -> None:
        if settings.s3_bucket is None:
            raise SettingError("No bucket is set.", "Set s3_bucket; docs/sync.md shows how.")
        self.name = settings.s3_bucket
        self.pace = pace or Pace()
        self._sending = False
        self._client = _client(settings)
        self._encrypted = (
            {} if settings.s3_kms_key is None
            else {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.s3_kms_key}
        )  # fmt: skip
        # A body is read once to be signed and once to be sent: only what is sent takes bandwidth.
        events = self._client.meta.events
        events.register_first("request-created.s3", self._signs)
        events.register_last("request-created.s3", self._sends)

    def head(self, key: str) -> Head | None:
        """What is there; None where nothing is."""
        with _told():
            try:
                found = self._client.head_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED")
            except self._client.exceptions.ClientError as error:
                if _status(error) == 404 and _code(error) != "NoSuchBucket":
                    return None
                raise
        checksum = str(found.get("ChecksumSHA256", ""))
        is_sealed = str(found.get("ServerSideEncryption", "")).startswith("aws:kms")
        return Head(int(found["ContentLength"]), _etag(found), checksum, is_sealed)

    def put(self, key: str, data: bytes, sha256: bytes, *, metadata: Mapping[str, str] | None = None) -> None:
        """Put an object in one request, which the store refuses where the SHA-256 is another."""
        with _told():
            self._client.put_object(
                Bucket=self.name,
                Key=key,
                Body=self._body(data),
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=_base64(sha256),
                Metadata=_ascii(metadata),
                **self._encrypted,
            )

    def begin(self, key: str, *, metadata: Mapping[str, str] | None = None) -> str:
        """Begin an upload in parts; its id."""
        with _told():
            begun = self._client.create_multipart_upload(
                Bucket=self.name, Key=key, ChecksumAlgorithm="SHA256", Metadata=_ascii(metadata), **self._encrypted
            )
        return str(begun["UploadId"])

    def put_part(self, key: str, upload: str, number: int, data: bytes, sha256: bytes) -> str:
        """Put a part; its ETag. UploadGone."""
        with _told():
            put = self._client.upload_part(
                Bucket=self.name,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=self._body(data),
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=_base64(sha256),
            )
        return str(put["ETag"])

    def complete(self, key: str, upload: str, parts: Mapping[int, tuple[bytes, str]]) -> None:
        """Make the parts (number -> SHA-256, ETag) one object. UploadGone."""
        listed = [
            {"PartNumber": number, "ETag": etag, "ChecksumSHA256": _base64(sha256)}
            for number, (sha256, etag) in sorted(parts.items())
        ]
        with _told():
            self._client.complete_multipart_upload(
                Bucket=self.name, Key=key, UploadId=upload, MultipartUpload={"Parts": listed}
            )

    def uploads(self, key: str) -> list[str]:
        """Uploads in parts that were begun for a key and never ended."""
        with _told():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name, Prefix=key)
            return [
                str(upload["UploadId"])
                for page in pages
                for upload in page.get("Uploads", ())
                if upload["Key"] == key
            ]  # fmt: skip

    def abort(self, key: str, upload: str) -> None:
        """Let go of an upload in parts, with what came of it; one that is gone is fine."""
        try:
            with _told():
                self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)
        except UploadGone:
            pass

    def read(self, key: str, etag: str = "") -> Iterator[bytes]:
        """The object's bytes, in blocks, of the version with that ETag where one is given; BucketTrouble("gone") where
        there is none."""
        version = {"IfMatch": etag} if etag else {}
        with _told():
            try:
                body = self._client.get_object(Bucket=self.name, Key=key, **version)["Body"]
            except self._client.exceptions.ClientError as error:
                if _status(error) == 404 and _code(error) != "NoSuchBucket":
                    raise BucketTrouble("gone", f"There is no object {key} in the bucket.") from None
                raise
            yield from body.iter_chunks(_BLOCK)

    def objects(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """Objects under a prefix, in the order of their keys' bytes."""
        with _told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, StartAfter=after
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    yield Listed(str(found["Key"]), int(found["Size"]), _etag(found))

    def folders(self, prefix: str) -> list[str]:
        """What stands before the next slash behind a prefix, with it, each once."""
        with _told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, Delimiter="/"
            )
            return [str(found["Prefix"]) for page in pages for found in page.get("CommonPrefixes", ())]

    def remove(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""
        with _told():
            self._client.delete_object(Bucket=self.name, Key=key)

    def close(self) -> None:
        self._client.close()

    def _body(self, data: bytes) -> io.BytesIO:
        return _Body(data, lambda count: self.pace.take(count) if self._sending else None)

    def _signs(self, **_: Any) -> None:
        self._sending = False

    def _sends(self, **_: Any) -> None:
        self._sending = True


class _Body(io.BytesIO):
    """Bytes that tell how many of them are read."""

    def __init__(self, data: bytes, tell: Callable[[int], None]) -> None:
        super().__init__(data)
        self._tell = tell

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._tell(len(data))
        return data


def place(settings: Settings) -> str:
    """Host and bucket that the settings name, as the ledger keeps it."""
    host = urlsplit(settings.s3_endpoint).netloc if settings.s3_endpoint else "aws"
    return f"{host}/{settings.s3_bucket}"


def tells(head: Head, sha256: bytes, parts: Sequence[bytes], md5s: Sequence[bytes]) -> bool:
    """Whether what a store says fits bytes of that SHA-256, whose parts have these SHA-256 and MD5.

    Of what came in parts S3 tells the checksum of the parts' checksums, with their number behind it, which some leave
    out. Stores that only repeat the SHA-256 that they were told are known by their ETag, which they make of what they
    have: the MD5 of the bytes, or of the parts' MD5s and their number.
    """
    together = _base64(hashlib.sha256(b"".join(parts)).digest())
    in_parts = head.checksum == f"{together}-{len(parts)}" or head.checksum == together
    of_all = f"{hashlib.md5(b''.join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}"
    made_of_them = head.etag == (md5s[0].hex() if len(md5s) == 1 else of_all)
    return (head.checksum == _base64(sha256) or in_parts) and (head.is_sealed or made_of_them)


def _client(settings: Settings) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    keys: dict[str, str] = {}
    said = settings.s3_keys.get_secret_value().split() if settings.s3_keys else []
    if said:
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        parts = "".join(said).split(":") if ":" in said[0] else said
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise SettingError("s3_keys cannot be read.", "Write access key and secret key with a colon between them.")
        keys = dict(zip(names, parts, strict=False))
    try:
        session = boto3.session.Session(region_name=settings.s3_region, **keys)
        return session.client(
            "s3",
            endpoint_url=settings.s3_endpoint,
            region_name=session.region_name or "us-east-1",
            verify=_trusted(settings),
            config=Config(
                # A store of the plant's own has one name, and none for each bucket.
                s3={"addressing_style": "path" if settings.s3_endpoint else "auto"},
                retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
                connect_timeout=CONNECT_SECONDS,
                read_timeout=ANSWER_SECONDS,
                max_pool_connections=2,
                # We send SHA-256 with each object; checksums beside it are refused by stores that do not know them.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
    except BotoCoreError as error:
        raise SettingError(f"The bucket cannot be asked ({_line(error)}).", "Look at the settings s3_*.") from None


def _trusted(settings: Settings) -> str | None:
    """The file of certificates. Factories look into TLS: whom the system trusts decides."""
    if settings.s3_ca_file is not None:
        if not settings.s3_ca_file.is_file():
            raise SettingError(f"s3_ca_file names {settings.s3_ca_file}, which is no file.", "Mend the path.")
        return str(settings.s3_ca_file)
    return ssl.get_default_verify_paths().cafile


@contextmanager
def _told() -> Iterator[None]:
    """The library's errors as BucketTrouble or UploadGone."""
    from botocore import exceptions as boto

    try:
        yield
    except boto.ClientError as error:
        raise _translated(_code(error), _status(error)) from None
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError):
        raise BucketTrouble(
            "denied", "There are no keys for the bucket.", "Set s3_keys, or give this machine a role that may use it."
        ) from None
    except boto.SSLError as error:
        raise BucketTrouble(
            "away", f"The store's certificate is not trusted ({_line(error)}).", "Set s3_ca_file, or mend the clock."
        ) from None
    except (boto.HTTPClientError, boto.ConnectionError, boto.ResponseStreamingError, boto.IncompleteReadError) as error:
        raise _away(type(error).__name__) from None


def _translated(code: str, status: int) -> Exception:
    if code == "NoSuchUpload":
        return UploadGone()
    if code == "RequestTimeTooSkewed":
        return BucketTrouble("denied", "The store says that this box's clock is wrong.", "Set the clock.")
    if code == "NoSuchBucket":
        return BucketTrouble("denied", "There is no such bucket.", "Make it, or mend s3_bucket and s3_region.")
    if code in _FULL or status == 507:
        return BucketTrouble("full", f"The store is full ({code}).", "Make room there, or raise its quota.")
    if code in _DIGEST:
        return BucketTrouble("digest", f"Other bytes reached the store than were sent ({code}).", "It is tried again.")
    if code in _BUSY or status >= 500 or status == 429:
        return _away(code)
    if code in _DENIED or status in (401, 403) or code.startswith("KMS."):
        return BucketTrouble(
            "denied", f"The store refuses these keys ({code}).", "Mend s3_keys, or the rights that docs/sync.md lists."
        )
    return BucketTrouble("refused", f"The store refused it ({code}, status {status}).", "See the store's own log.")


def _away(why: str) -> BucketTrouble:
    return BucketTrouble(
        "away", f"The store cannot be reached, or is too busy ({why}).", "What waits is kept, and tried again."
    )


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "") or "unknown")


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")


def _etag(found: Mapping[str, Any]) -> str:
    return str(found.get("ETag", "")).strip('"')


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")


def _ascii(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Headers hold nothing but ASCII, and names of files come from strangers."""
    return {name: quote(value, safe=" !#$&'()*+,/:;=?@[]-._~") for name, value in (metadata or {}).items()}
