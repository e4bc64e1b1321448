"""A drop folder with its box, for tests."""

from __future__ import annotations

from pathlib import Path

from appliance import intake
from appliance.intake import Claimed, Left, Look
from appliance.profile import Profile
from tests import profiles

MILLING = profiles.load("milling")
PUMP = profiles.load("pump")
LIMIT = 10 * 2**20
TEXT = b"UDI,Product ID\n1,M14860\n"


class Drop:
    def __init__(self, folder: Path) -> None:
        self.raw = folder / "raw_data"
        self.work = folder / "work"
        self.away = folder / "away"
        for name in ("milling/mill-1", "pump"):
            (self.raw / name).mkdir(parents=True)
        self.work.mkdir()
        self.away.mkdir()
        self.mill = self.raw / "milling" / "mill-1"

    def put(self, name: str, data: bytes = TEXT, folder: Path | None = None) -> Path:
        path = (folder or self.mill) / name
        path.write_bytes(data)
        return path

    def look(self) -> dict[Path, Look]:
        return intake.look(self.raw, ["milling", "pump"])

    def one(self, path: Path) -> Look:
        return self.look()[path]

    def claim(self, path: Path, profile: Profile = MILLING, limit: int = LIMIT) -> Claimed | Left:
        return intake.claim(self.one(path), profile, self.work, limit)

    def claimed(self, path: Path, profile: Profile = MILLING, limit: int = LIMIT) -> Claimed:
        found = self.claim(path, profile, limit)
        assert isinstance(found, Claimed), found
        return found

    def reason(self, path: Path, profile: Profile = MILLING, limit: int = LIMIT) -> str:
        found = self.claimed(path, profile, limit)
        if found.refusal is None:
            return ""
        assert found.refusal.message
        assert found.refusal.way_out
        return found.refusal.reason

    def copies(self) -> list[str]:
        return [path.name for path in self.work.iterdir()]
