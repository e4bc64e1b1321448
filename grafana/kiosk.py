"""The screen in the hall: read from three metres, without a hand on it."""

from __future__ import annotations

from grafana.parts import BLUE, GREY, ORANGE, PROFILE, RED, VIOLET, YELLOW, Dashboard, stat, table, tiles

MOST_TILES = 24
_AGE = """
    CASE WHEN {0} IS NULL THEN 'no data yet' WHEN {0} < 90 THEN 'just now'
        WHEN {0} < 5400 THEN round({0} / 60) || ' min ago' WHEN {0} < 172800 THEN round({0} / 3600) || ' h ago'
        ELSE round({0} / 86400) || ' days ago' END
"""

DASHBOARD = Dashboard(
    uid="appliance-kiosk",
    title="Kiosk",
    question="Which machine needs somebody now, and why?",
    asks=False,
    refresh="10s",
    variables=[PROFILE],
    rows=[
        (
            14,
            [
                (
                    24,
                    tiles(
                        "Which machine needs somebody now, and why?",
                        f"""
                        SELECT machine || ' · ' || {_AGE.format("age_seconds")} AS tile,
                            state || CASE WHEN mode <> '' THEN ': ' || mode ELSE '' END AS text
                        FROM report.machine WHERE profile IN ($profile)
                        ORDER BY array_position(ARRAY['ALARM', 'SEEN', 'SNOOZED', 'WATCH', 'OLD', 'NO DATA', 'normal'], state),
                            probability DESC NULLS LAST, machine LIMIT {MOST_TILES}
                        """,
                        [
                            ("^ALARM", RED),
                            ("^(SEEN|SNOOZED)", ORANGE),
                            ("^WATCH", YELLOW),
                            ("^OLD", VIOLET),
                            ("^NO DATA", BLUE),
                            ("^normal", GREY),
                        ],
                        MOST_TILES,
                        "ALARM: predicted to fail. SEEN: somebody acknowledged it. WATCH: its last row fails, which is no"
                        " alarm yet. OLD: nothing was predicted for an hour. The time is that of the last prediction.",
                    ),
                )
            ],
        ),
        (
            6,
            [
                (
                    24,
                    table(
                        "What to do",
                        """
                        SELECT machine AS "Machine", state AS "State", opened_at AS "Since", reason AS "Reason",
                            action AS "What to do"
                        FROM report.machine WHERE profile IN ($profile) AND alarm_id IS NOT NULL
                        ORDER BY state <> 'ALARM', opened_at LIMIT 5
                        """,
                    ),
                )
            ],
        ),
        (
            4,
            [
                (
                    4,
                    stat(
                        "Age of the oldest profile's data",
                        "SELECT max(prediction_age_seconds) FROM report.freshness WHERE profile IN ($profile)",
                        unit="dtdurations",
                        steps=[(None, GREY), (900, ORANGE), (3600, RED)],
                        missing="no data yet",
                    ),
                ),
                (
                    4,
                    stat(
                        "Bad rows within a day",
                        """
                        SELECT sum(rows_bad)::float8 / nullif(sum(rows_in), 0) FROM report.file
                        WHERE profile IN ($profile) AND arrived_at > now() - interval '24 hours'
                        """,
                        unit="percentunit",
                        steps=[(None, GREY), (0.05, ORANGE), (0.2, RED)],
                        missing="no rows",
                    ),
                ),
                (
                    4,
                    stat(
                        "Model",
                        """
                        SELECT string_agg(profile || ' ' || model_version, ', ' ORDER BY profile) FROM report.model
                        WHERE active AND profile IN ($profile)
                        """,
                        unit="string",
                        missing="NO MODEL",
                        words=True,
                    ),
                ),
                (
                    3,
                    stat(
                        "Disk free",
                        "SELECT CASE WHEN age_seconds < 300 THEN disk_free_bytes / nullif(disk_bytes, 0) END FROM report.box",
                        unit="percentunit",
                        steps=[(None, RED), (0.05, ORANGE), (0.1, GREY)],
                    ),
                ),
                (
                    3,
                    stat(
                        "Rows that wait",
                        "SELECT CASE WHEN age_seconds < 300 THEN backlog_rows END FROM report.box",
                        steps=[(None, GREY), (1_000_000, ORANGE)],
                    ),
                ),
                (
                    3,
                    stat(
                        "Copies wait for",
                        "SELECT oldest_seconds FROM report.bucket",
                        unit="dtdurations",
                        steps=[(None, GREY), (86_400, ORANGE), (7 * 86_400, RED)],
                        missing="none waits",
                        help_="What is still to be copied to S3; it is kept on the box.",
                    ),
                ),
                (
                    3,
                    stat(
                        "Faults of the box",
                        "SELECT CASE WHEN age_seconds < 300 THEN faults END FROM report.box",
                        steps=[(None, GREY), (1, RED)],
                        help_="`appliance doctor` names them, with the way out.",
                    ),
                ),
            ],
        ),
    ],
)
