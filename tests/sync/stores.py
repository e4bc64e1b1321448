"""moto's server: S3 over real HTTP, in this process, with buckets that the tests look into from behind."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.s3 import models
from moto.server import ThreadedMotoServer

KEYS = "AKIAEXAMPLE:not-a-secret"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Store:
    url: str
    client: Any

    def bucket(self) -> str:
        """The name of a new bucket."""
        name = f"plant-{next(_numbers)}"
        self.client.create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str) -> dict[str, bytes]:
        """All that is in it, by key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        return {key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def uploads(self, bucket: str) -> list[str]:
        """Keys of uploads in parts that were begun and did not end."""
        return [found["Key"] for found in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


@contextmanager
def running(smallest_part: int | None = None) -> Iterator[Store]:
    """A store; ``smallest_part``: parts may be as small as that, where 5 MiB is the least elsewhere."""
    if smallest_part is not None:
        models.S3_UPLOAD_PART_MIN_SIZE = smallest_part  # type: ignore[attr-defined]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        access, secret = KEYS.split(":")
        client = boto3.session.Session(access, secret, region_name="us-east-1").client("s3", endpoint_url=url)
        yield Store(url, client)
        client.close()
    finally:
        server.stop()
