"""``python -m tests.bench.load``: many clients of one server, in one process that costs little beside it.

Each client sends the same request over a connection of its own as soon as its last one was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from pathlib import Path

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


async def _answer(reader: asyncio.StreamReader) -> int:
    """The status of the next answer, which is read whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    found = _LENGTH.search(head)
    if found is None:
        raise RuntimeError("an answer without a length")
    await reader.readexactly(int(found.group(1)))
    return int(head.split(b" ", 2)[1])


async def _client(where: str, request: bytes, until: float, most: int, times: list[float]) -> None:
    if "/" in where:
        reader, writer = await asyncio.open_unix_connection(where)
    else:
        host, _, port = where.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    try:
        while time.perf_counter() < until and len(times) < most:
            began = time.perf_counter()
            writer.write(request)
            status = await _answer(reader)
            if status != 200:
                raise RuntimeError(f"an answer with status {status}")
            times.append(time.perf_counter() - began)
    finally:
        writer.close()


async def _run(where: str, request: bytes, clients: int, seconds: float, most: int) -> dict[str, object]:
    times: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(*(_client(where, request, began + seconds, most, times) for _ in range(clients)))
    return {"seconds": time.perf_counter() - began, "times": times}


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of a request; a token in ``headers`` stays out of the command line that way."""
    lines = [f"POST {path} HTTP/1.1", "host: bench", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    parser.add_argument("where", help="the path of a unix socket, or HOST:PORT")
    parser.add_argument("request", type=Path, help="a file with the bytes of the request")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--most", type=int, default=sys.maxsize, help="end after so many answers")
    options = parser.parse_args()
    sent = options.request.read_bytes()
    found = asyncio.run(_run(options.where, sent, options.clients, options.seconds, options.most))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
