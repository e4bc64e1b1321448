"""The two profiles that tests put side by side, and a way to spoil one."""

from __future__ import annotations

from pathlib import Path

from appliance import profile as profiles
from appliance.profile import Profile

FOLDER = Path(__file__).parent.parent / "model" / "profiles"
NAMES = ("milling", "pump")


def text(name: str) -> str:
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def load(name: str) -> Profile:
    return profiles.load(FOLDER / f"{name}.toml")


def changed(name: str, old: str, new: str) -> Profile:
    """The profile with one piece of its text replaced."""
    assert old in text(name), f"{old!r} does not stand in {name}.toml"
    return profiles.parse(text(name).replace(old, new, 1), source=f"{name}.toml")
