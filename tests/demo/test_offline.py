"""The road to the demo's stand-in for S3: cut, it turns everybody away; open, it carries what goes over it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import httpx
import pytest

from appliance import demo_offline
from appliance.demo_offline import Road
from appliance.errors import SettingError

_BODY = b"x" * (3 << 20)


@pytest.fixture(scope="module")
def target() -> Iterator[int]:
    """The port of somebody who gives back how much was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            said = str(len(self.rfile.read(int(self.headers["content-length"])))).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_road_is_cut_and_opened(target: int) -> None:
    road = Road(target)
    with road.built(), httpx.Client(trust_env=False, timeout=20) as http:
        url = f"http://127.0.0.1:{road.port}/"
        for _ in range(2):
            with pytest.raises(httpx.TransportError):
                http.put(url, content=_BODY)
            road.open()
            assert http.put(url, content=_BODY).text == str(len(_BODY))
            # The client would go on over the connection that it has.
            road.cut()


def test_a_machine_without_the_stand_in_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_offline, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match="not installed here") as caught:
        demo_offline.require()
    assert "make demo" in caught.value.way_out
