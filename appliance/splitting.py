"""A claimed file -> a file of good rows, a file of bad ones, a report, and the record for the ledger.

Everything lies durably in its place when this returns; the caller commits the record, and only that makes it count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance import outputs, quality, reader, report
from appliance.errors import FileRefused
from appliance.intake import Claimed
from appliance.names import DEMO, is_demo
from appliance.outputs import BadWriter, GoodWriter
from appliance.places import Places
from appliance.profile import Profile
from appliance.quality import Issue
from appliance.settings import Settings
from appliance.store.rows import Arrival, FileRecord


@dataclass(frozen=True, slots=True)
class Split:
    record: FileRecord
    issues: Sequence[Issue]
    part_sizes: Sequence[int]  # good rows in each part


def split(settings: Settings, profile: Profile, arrival: Arrival, claimed: Claimed, places: Places) -> Split:
    """Check every row of the copy and write good and bad ones. FileRefused where it is not readable as a whole."""
    assert claimed.path is not None
    assert claimed.format
    demo = is_demo(claimed.origin)
    # In the file of bad rows, so that it is known where they come from under whatever name they come back.
    number = f"{DEMO if demo else ''}{arrival.file_id}"
    rows = 0
    with reader.open_file(
        claimed.path,
        claimed.format,
        profile,
        batch_rows=settings.batch_rows,
        line_limit=settings.line_limit_kb * 1024,
        size_limit=settings.file_limit_mb * 2**20,
    ) as batches:
        checker = quality.Checker(profile, batches.header, claimed.origin, arrival.arrived_at)
        places.make_folders(places.good, places.bad)
        with (
            GoodWriter(places.good, profile, arrival.contract_hash, settings.work) as good,
            BadWriter(places.bad, profile, batches.header, number) as bad,
        ):
            for batch in batches:
                checked = checker.check(batch)
                good.append(checked.good)
                bad.append(checked.bad)
                rows += batch.frame.height
            if not demo and any(is_demo(known) for known in batches.corrects):
                raise FileRefused(
                    "demo",
                    "The file holds rows of a simulated one, and its name does not say so.",
                    f"Let its name begin with {DEMO} again, as that of the file of bad rows does.",
                )
            good_rows, bad_rows = good.commit(), bad.commit()
    issues = checker.issues()
    criticality = quality.criticality(rows, bad_rows, settings.criticality_high, settings.criticality_medium)
    if issues:
        summary = report.FileSummary(
            profile=profile,
            name=claimed.name,
            arrived_at=arrival.arrived_at,
            rows=rows,
            good=good_rows,
            bad=bad_rows,
            criticality=criticality,
            issues=issues,
            origin="" if claimed.origin == DEMO else claimed.origin,
            bad_file=places.bad.name if bad_rows else "",
            zone=settings.timezone,
            site=settings.site,
        )
        outputs.put(places.report, report.html(summary).encode())
    mended = [int(known) for name in batches.corrects if (known := name.removeprefix(DEMO)).isdigit()]
    record = FileRecord(
        rows_in=rows,
        rows_good=good_rows,
        rows_bad=bad_rows,
        criticality=criticality,
        good_path=places.relative(places.good) if good_rows else None,
        bad_path=places.relative(places.bad) if bad_rows else None,
        report_path=places.relative(places.report) if issues else None,
        header=batches.header,
        encoding=profile.file.encoding,
        mended_from=min(mended, default=None),
    )
    sizes = [min(settings.part_rows, good_rows - start) for start in range(0, good_rows, settings.part_rows)]
    return Split(record, issues, sizes)
