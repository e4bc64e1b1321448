"""Which destinations a box needs, and whether they can be reached: real sockets on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import network
from appliance.network import Destination
from appliance.settings import Settings


def wanted(settings: Settings, etc: Path) -> set[tuple[str, int, str]]:
    return {(d.host, d.port, d.protocol) for d in network.destinations(settings, etc)}


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "chrony/sources.d").mkdir(parents=True)
    (tmp_path / "chrony/chrony.conf").write_text("# pool 9.example.org\npool time.example.org iburst\n")
    return tmp_path


def test_time_and_updates_are_read_from_the_system(etc: Path) -> None:
    (etc / "chrony/sources.d/plant.sources").write_text("server clock.plant.example prefer\n")
    (etc / "apt/sources.list").write_text(
        "# deb http://old.example.org/debian x main\ndeb [signed-by=/k.gpg] https://deb.example.org:8443/debian x main\n"
    )
    (etc / "apt/sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: http://security.example.org/debian-security\nSuites: x\n"
    )
    assert wanted(Settings(), etc) == {
        ("time.example.org", 123, "udp"),
        ("clock.plant.example", 123, "udp"),
        ("deb.example.org", 8443, "tcp"),
        ("security.example.org", 80, "tcp"),
    }


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("slack://aaaaaaaaa/bbbbbbbbb/cccccccccccccccccccccccc/#plant", "hooks.slack.com", 443),
        ("tgram://123456789:alphanumeric_alphanumeric_alphanumer/123456", "api.telegram.org", 443),
        ("discord://123456789012345678/abcdefghijk", "discord.com", 443),
        ("workflows://flows.example.com/workflow/signature", "flows.example.com", 443),
        ("alarm=jsons://hooks.example.com/x", "hooks.example.com", 443),
        ("json://hooks.example.com:81/x", "hooks.example.com", 81),
        ("mailtos://u:p@example.com?smtp=mail.example.com&to=a@example.com", "mail.example.com", 587),
        ("ntfys://topic", "ntfy.sh", 443),
    ],
)
def test_each_target_names_its_host_and_nothing_of_its_secret(etc: Path, url: str, host: str, port: int) -> None:
    box = Settings(notify_targets=url)  # type: ignore[arg-type]
    assert (host, port, "tcp") in wanted(box, etc)
    said = " ".join(d.sentence() for d in network.destinations(box, etc))
    assert not any(secret in said for secret in ("cccc", "alphanumeric", "abcdefghijk", "signature", "u:p"))


def test_a_target_that_cannot_be_read_names_no_destination(etc: Path) -> None:
    assert wanted(Settings(notify_targets="slack://x"), etc) == wanted(Settings(), etc)  # type: ignore[arg-type]


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_that_listens_can_be_reached(port: int) -> None:
    assert network.trouble(Destination("messages", "127.0.0.1", port, "tcp")) == ""


def test_what_does_not_listen_or_has_no_name_is_told(port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    assert "refused" in network.trouble(Destination("messages", "127.0.0.1", closed, "tcp"))
    assert "resolved" in network.trouble(Destination("messages", "none.invalid", port, "tcp"))


@pytest.mark.parametrize(("answer", "said"), [(b"\x24" + 47 * b"\1", ""), (b"hello", "no time server")])
def test_a_time_server_is_asked_for_the_time(answer: bytes, said: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            request, client = server.recvfrom(512)
            assert request[0] & 7 == 3
            server.sendto(answer, client)

        thread = threading.Thread(target=serve)
        thread.start()
        trouble = network.trouble(Destination("time", "127.0.0.1", server.getsockname()[1], "udp"))
        thread.join()
    assert said in trouble
    assert bool(said) == bool(trouble)


def test_a_time_server_that_is_silent_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        where = Destination("time", "127.0.0.1", server.getsockname()[1], "udp")
        assert "firewall" in network.trouble(where, seconds=0.2)


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"s3_bucket": "plant-data", "s3_region": "eu-west-1"}, ("plant-data.s3.eu-west-1.amazonaws.com", 443, "tcp")),
        ({"s3_bucket": "plant", "s3_endpoint": "https://s3.example:9000"}, ("s3.example", 9000, "tcp")),
        ({"s3_bucket": "plant", "s3_endpoint": "http://s3.example"}, ("s3.example", 80, "tcp")),
    ],
)
def test_the_bucket_is_named_where_one_is_set(etc: Path, settings: dict[str, str], place: tuple[str, int, str]) -> None:
    assert place in wanted(Settings(**settings), etc)  # type: ignore[arg-type]
    assert place not in wanted(Settings(), etc)
