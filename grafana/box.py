"""The box itself: is it quick enough, does it have room, does its schedule run."""

from __future__ import annotations

from collections.abc import Mapping

from grafana.parts import GREY, ORANGE, RED, Dashboard, colored, series, stat, table, unit


def _curves(names: Mapping[str, str]) -> str:
    """Curves of figures by name: (name, what it is called)."""
    called = " ".join(f"WHEN '{name}' THEN '{title}'" for name, title in names.items())
    listed = ", ".join(f"'{name}'" for name in names)
    return f"""
        SELECT $__timeGroupAlias(at, $__interval), CASE name {called} END AS metric, max(value) AS value FROM report.metric
        WHERE $__timeFilter(at) AND name IN ({listed}) GROUP BY 1, 2 ORDER BY 1, 2
    """


_FRESH = "CASE WHEN age_seconds < 300 THEN {0} END FROM report.box"

DASHBOARD = Dashboard(
    uid="appliance-box",
    title="The box",
    question="Is the box well, quick enough, and for how long does its disk last?",
    rows=[
        (
            4,
            [
                (
                    4,
                    stat("Faults", f"SELECT {_FRESH.format('faults')}", steps=[(None, GREY), (1, RED)]),
                ),
                (
                    4,
                    stat("Warnings", f"SELECT {_FRESH.format('warnings')}", steps=[(None, GREY), (1, ORANGE)]),
                ),
                (
                    4,
                    stat(
                        "Disk full in",
                        "SELECT days_left * 86400 FROM report.disk",
                        unit="dtdurations",
                        steps=[(None, RED), (7 * 86400, ORANGE), (30 * 86400, GREY)],
                        missing="no trend",
                        help_="If it goes on as in the last seven days.",
                    ),
                ),
                (4, stat("Disk free", f"SELECT {_FRESH.format('disk_free_bytes')}", unit="bytes")),
                (4, stat("Database", f"SELECT {_FRESH.format('database_bytes')}", unit="bytes")),
                (
                    4,
                    stat(
                        "Parts given up",
                        f"SELECT {_FRESH.format('backlog_failed')}",
                        steps=[(None, GREY), (1, RED)],
                        help_="`appliance predict --retry` lets them wait again.",
                    ),
                ),
            ],
        ),
        (
            8,
            [
                (
                    8,
                    series(
                        "From arrival to good rows, and from there to a prediction",
                        """
                        SELECT $__timeGroupAlias(ingested_at, $__interval), max(delay_seconds) AS "arrival to good rows"
                        FROM report.file WHERE $__timeFilter(ingested_at) GROUP BY 1 ORDER BY 1
                        """,
                        """
                        SELECT $__timeGroupAlias(predicted_at, $__interval), max(delay_seconds) AS "good rows to prediction"
                        FROM report.part WHERE $__timeFilter(predicted_at) GROUP BY 1 ORDER BY 1
                        """,
                        unit="s",
                    ),
                ),
                (
                    8,
                    series(
                        "Waiting for a prediction", _curves({"backlog_parts": "parts", "backlog_failed": "given up"})
                    ),
                ),
                (
                    8,
                    series(
                        "Passes",
                        """
                        SELECT $__timeGroupAlias(started_at, $__interval), kind || ' ' || outcome AS metric, count(*) AS passes
                        FROM report.run WHERE $__timeFilter(started_at) GROUP BY 1, 2 ORDER BY 1, 2
                        """,
                        bars=True,
                        stacked=True,
                        help_="Skipped: there was nothing to do.",
                    ),
                ),
            ],
        ),
        (
            8,
            [
                (
                    8,
                    series(
                        "The API answers in",
                        _curves(
                            {
                                "api_seconds_p50": "half of requests",
                                "api_seconds_p95": "95 of 100",
                                "api_seconds_most": "all",
                            }
                        ),
                        unit="s",
                    ),
                ),
                (
                    8,
                    series("Requests a minute", _curves({"api_requests": "all", "api_errors": "failed by us"})),
                ),
                (
                    8,
                    series(
                        "Processor and memory in use",
                        _curves({"box_cpu_share": "processor", "box_memory_share": "memory"}),
                        unit="percentunit",
                        most=1,
                    ),
                ),
            ],
        ),
        (
            8,
            [
                (
                    4,
                    stat(
                        "Wait for the bucket",
                        "SELECT waiting FROM report.bucket",
                        help_="Objects that are still to be copied to S3; none where no bucket is set.",
                    ),
                ),
                (
                    4,
                    stat(
                        "The oldest waits for",
                        "SELECT oldest_seconds FROM report.bucket",
                        unit="dtdurations",
                        steps=[(None, GREY), (86_400, ORANGE), (7 * 86_400, RED)],
                        missing="nothing waits",
                        help_="`appliance sync --now` says why. What waits is kept on the box.",
                    ),
                ),
                (
                    8,
                    series(
                        "Waiting for the bucket",
                        _curves({"bucket_waiting_bytes": "bytes"}),
                        unit="bytes",
                        help_="Grows while the store is away, and drains when it is back.",
                    ),
                ),
                (
                    4,
                    stat(
                        "Newest backup",
                        "SELECT age_seconds FROM report.backup WHERE kept AND good ORDER BY backup_id DESC LIMIT 1",
                        unit="dtdurations",
                        steps=[(None, GREY), (172_800, ORANGE), (604_800, RED)],
                        missing="none",
                        help_="Age of the newest good one; `appliance backup list` has them all.",
                    ),
                ),
                (
                    4,
                    stat(
                        "Last good restore drill",
                        "SELECT min(drill_age_seconds) FROM report.backup WHERE drill = 'good'",
                        unit="dtdurations",
                        steps=[(None, GREY), (172_800, ORANGE), (604_800, RED)],
                        missing="none",
                        help_="How long ago a backup was restored for a trial and came out as it was.",
                    ),
                ),
            ],
        ),
        (
            8,
            [
                (
                    8,
                    series(
                        "Disk free and database",
                        _curves({"box_disk_free_bytes": "disk free", "box_database_bytes": "database"}),
                        unit="bytes",
                    ),
                ),
                (
                    8,
                    table(
                        "The schedule's last passes",
                        """
                        SELECT kind AS "Pass", age_seconds AS "Age", outcome AS "Outcome", why AS "Why" FROM report.schedule
                        """,
                        {
                            "Age": unit("dtdurations"),
                            "Outcome": colored({"failed": RED, "done": GREY, "skipped": GREY}),
                        },
                        "Files every minute, predictions every two, maintenance at night.",
                    ),
                ),
                (
                    8,
                    table(
                        "Passes that failed",
                        """
                        SELECT started_at AS "Began", kind AS "Pass", why AS "Why" FROM report.run
                        WHERE outcome = 'failed' AND $__timeFilter(started_at) ORDER BY started_at DESC LIMIT 20
                        """,
                    ),
                ),
            ],
        ),
    ],
)
