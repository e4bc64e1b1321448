"""Where the files of a journey lie below the data folder. An arrival's ids are in every name, so a step that is done
again replaces what it wrote before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance import durable, outputs
from appliance.names import fitting
from appliance.profile import Profile
from appliance.settings import Settings
from appliance.store.rows import Arrival


@dataclass(frozen=True, slots=True)
class Places:
    """The places of one arrival under its profile."""

    root: Path
    good: Path
    bad: Path
    report: Path
    quarantine: Path
    archive: Path | None  # None where the settings keep no originals

    @classmethod
    def of(cls, settings: Settings, profile: Profile, arrival: Arrival) -> Places:
        folder = _folder(profile.name, arrival)
        named = f"{fitting(arrival.name)}.{arrival.file_id}"
        return cls(
            root=settings.data_dir,
            good=settings.good / folder / f"{arrival.file_id}.parquet",
            bad=settings.bad / folder / f"{named}.csv",
            report=settings.bad / folder / f"{named}.html",
            quarantine=settings.bad / "quarantine" / folder / named,
            archive=archived(settings, profile.name, arrival) if settings.archive_days else None,
        )

    def relative(self, path: Path) -> str:
        """As it stands in the ledger."""
        return str(path.relative_to(self.root))

    def make_folders(self, *files: Path) -> None:
        """Make the folders of files so that they survive a power cut: each new entry is fsynced in its parent."""
        for file in files:
            missing = [f for f in file.parents if f.is_relative_to(self.root) and not f.exists()]
            for new in reversed(missing):
                new.mkdir(exist_ok=True)
                durable.sync_folder(new.parent)


def archived(settings: Settings, profile: str, arrival: Arrival) -> Path:
    """Where an original is kept, if it is."""
    return settings.archive / _folder(profile, arrival) / f"{fitting(arrival.name)}.{arrival.id}"


def _folder(profile: str, arrival: Arrival) -> str:
    return f"profile={profile}/date={arrival.day.isoformat()}"


def discard_outputs(settings: Settings, arrival: Arrival) -> None:
    """Remove what lies under an id that was never committed, whatever its profile.

    Whoever reads the folders must not find these rows twice, should the same content be taken under another name, or
    rows that nobody accounts for, should the original be gone.
    """
    date = f"profile=*/date={arrival.day.isoformat()}"
    bad = f"{fitting(arrival.name)}.{arrival.file_id}"
    for folder in settings.good.glob(date):
        outputs.discard(folder / f"{arrival.file_id}.parquet")
    for folder in settings.bad.glob(date):
        outputs.discard(folder / f"{bad}.csv")
        outputs.discard(folder / f"{bad}.html")
