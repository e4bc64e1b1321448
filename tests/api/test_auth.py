"""The gate alone, on a clock of its own."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from appliance.api.auth import Gate, Principal
from appliance.errors import TooManyRequests, Unauthorized

RIGHT = "fa_right"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Tokens as the store would know them, and how often it was asked."""

    def __init__(self) -> None:
        self.tokens = {RIGHT: Principal(1, "ann", "operator", "api", None)}
        self.asked = 0

    def __call__(self, token: str) -> Principal | None:
        self.asked += 1
        return self.tokens.get(token)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def gate(store: Store, clock: Clock) -> Gate:
    return Gate(store, guesses_per_minute=3, clock=clock)


def test_a_right_token_costs_one_look_in_five_seconds(gate: Gate, store: Store, clock: Clock) -> None:
    assert gate.remembered(RIGHT) is None
    ann = gate.look_up(RIGHT, "10.0.0.1")
    for _ in range(10):
        assert gate.remembered(RIGHT) == ann
    assert store.asked == 1
    clock.now += 5.0
    assert gate.remembered(RIGHT) is None


def test_a_token_that_expires_is_not_believed_on(gate: Gate, store: Store) -> None:
    store.tokens["fa_past"] = Principal(2, "bob", "viewer", "api", datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(Unauthorized):
        gate.look_up("fa_past", "10.0.0.1")
    soon = datetime.now(UTC) + timedelta(milliseconds=50)
    store.tokens["fa_soon"] = Principal(2, "bob", "viewer", "api", soon)
    gate.look_up("fa_soon", "10.0.0.1")
    while datetime.now(UTC) <= soon:
        time.sleep(0.01)
    assert gate.remembered("fa_soon") is None


def test_wrong_tokens_are_limited_by_address_and_minute(gate: Gate, clock: Clock) -> None:
    for guess in range(3):
        with pytest.raises(Unauthorized):
            gate.look_up(f"fa_{guess}", "10.0.0.1")
    clock.now += 20
    with pytest.raises(TooManyRequests) as refused:
        gate.look_up("fa_4", "10.0.0.1")
    assert refused.value.retry_after == 40
    with pytest.raises(Unauthorized):
        gate.look_up("fa_5", "10.0.0.2")
    clock.now += 41
    with pytest.raises(Unauthorized):
        gate.look_up("fa_6", "10.0.0.1")


def test_who_works_behind_a_guessing_address_is_not_locked_out(gate: Gate) -> None:
    for guess in range(10):
        with pytest.raises((Unauthorized, TooManyRequests)):
            gate.look_up(f"fa_{guess}", "10.0.0.1")
    assert gate.look_up(RIGHT, "10.0.0.1").name == "ann"


@pytest.mark.parametrize("token", ["", "x" * 10_000, "fa_ä"])
def test_what_can_be_no_token_never_reaches_the_store(gate: Gate, store: Store, token: str) -> None:
    with pytest.raises(Unauthorized):
        gate.look_up(token, "10.0.0.1")
    assert store.asked == 0


def test_a_flood_of_addresses_and_tokens_does_not_grow_the_process(gate: Gate, store: Store) -> None:
    for number in range(10_500):
        with pytest.raises(Unauthorized):
            gate.look_up("fa_wrong", f"10.1.{number // 250}.{number % 250}")
    assert len(gate._guesses._wrong) == 10_000
    for number in range(1_100):
        store.tokens[f"fa_{number}"] = Principal(number, "n", "viewer", "api", None)
        gate.look_up(f"fa_{number}", "10.0.0.1")
    assert len(gate._believed) == 1_000


@pytest.mark.parametrize(
    ("role", "may"),
    [("viewer", 1), ("operator", 2), ("engineer", 3), ("admin", 4)],
)
def test_a_role_may_what_those_below_it_may(role: str, may: int) -> None:
    who = Principal(1, "x", role, "api", None)  # type: ignore[arg-type]
    allowed = [other for other in ("viewer", "operator", "engineer", "admin") if who.outranks(other)]  # type: ignore[arg-type]
    assert len(allowed) == may
