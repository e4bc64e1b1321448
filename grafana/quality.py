"""What comes in, and what is wrong with it."""

from __future__ import annotations

from grafana.parts import (
    GREY,
    ORANGE,
    PROFILE,
    RED,
    SCREENS,
    YELLOW,
    Dashboard,
    bars,
    colored,
    link,
    series,
    stat,
    table,
    unit,
)

_FILES = "FROM report.file WHERE profile IN ($profile) AND $__timeFilter(arrived_at)"
_WEEK = "interval '7 days'"
_BEFORE = (
    f"FROM report.file WHERE profile IN ($profile) AND arrived_at BETWEEN $__timeFrom()::timestamptz - {_WEEK}"
    f" AND $__timeTo()::timestamptz - {_WEEK}"
)
_SHARE = "sum(rows_bad)::float8 / nullif(sum(rows_in), 0)"
_SHARES = [(None, GREY), (0.05, ORANGE), (0.2, RED)]

DASHBOARD = Dashboard(
    uid="appliance-quality",
    title="Data quality",
    question="Do the machines send what they should?",
    variables=[PROFILE, SCREENS],
    rows=[
        (
            4,
            [
                (5, stat("Good rows", f"SELECT sum(rows_good)::float8 {_FILES}", missing="none")),
                (5, stat("Bad rows", f"SELECT sum(rows_bad)::float8 {_FILES}", missing="none")),
                (
                    5,
                    stat(
                        "Bad share", f"SELECT {_SHARE} {_FILES}", unit="percentunit", steps=_SHARES, missing="no rows"
                    ),
                ),
                (
                    5,
                    stat("The week before", f"SELECT {_SHARE} {_BEFORE}", unit="percentunit", missing="no rows"),
                ),
                (
                    4,
                    stat(
                        "Files refused",
                        f"SELECT count(*) {_FILES} AND state = 'quarantined'",
                        steps=[(None, GREY), (1, ORANGE)],
                    ),
                ),
            ],
        ),
        (
            8,
            [
                (
                    12,
                    series(
                        "Rows, good and bad",
                        f"""SELECT $__timeGroupAlias(arrived_at, $__interval), sum(rows_good)::float8 AS "good",
                        sum(rows_bad)::float8 AS "bad" {_FILES} GROUP BY 1 ORDER BY 1""",
                        bars=True,
                        stacked=True,
                    ),
                ),
                (
                    12,
                    series(
                        "Bad share against the week before",
                        f"SELECT $__timeGroupAlias(arrived_at, '1h'), {_SHARE} AS \"now\" {_FILES} GROUP BY 1 ORDER BY 1",
                        f'SELECT floor(extract(epoch FROM arrived_at) / 3600) * 3600 + 604800 AS "time", {_SHARE}'
                        f' AS "a week before" {_BEFORE} GROUP BY 1 ORDER BY 1',
                        unit="percentunit",
                    ),
                ),
            ],
        ),
        (
            9,
            [
                (
                    12,
                    bars(
                        "What rows break most",
                        """
                        SELECT profile || ' · ' || title || ': ' || rule AS "What", sum(rows)::float8 AS "Rows" FROM report.issue
                        WHERE profile IN ($profile) AND $__timeFilter(arrived_at) GROUP BY 1 ORDER BY 2 DESC LIMIT 12
                        """,
                        x="What",
                        sideways=True,
                        help_="A row may break several rules.",
                    ),
                ),
                (
                    12,
                    series(
                        "Files by criticality",
                        f"SELECT $__timeGroupAlias(arrived_at, $__interval), criticality AS metric, count(*) AS files {_FILES}"
                        " GROUP BY 1, 2 ORDER BY 1, 2",
                        bars=True,
                        stacked=True,
                        help_="high: half of the rows or more are bad, or the file cannot be read. medium: a fifth or more.",
                    ),
                ),
            ],
        ),
        (
            9,
            [
                (
                    24,
                    table(
                        "Latest bad files",
                        f"""
                        SELECT file_id AS "File", arrived_at AS "Came", profile AS "Profile", machine AS "Machine",
                            file AS "Name", criticality AS "Criticality", rows_in::float8 AS "Rows",
                            bad_share AS "Bad share", sentence AS "Why refused"
                        {_FILES} AND (rows_bad > 0 OR state = 'quarantined') ORDER BY arrived_at DESC LIMIT 50
                        """,
                        {
                            "File": link("Its report", "${screens}/file?id=${__value.raw}"),
                            "Bad share": unit("percentunit", 1),
                            "Criticality": colored({"high": RED, "medium": ORANGE, "low": YELLOW}),
                        },
                    ),
                )
            ],
        ),
    ],
)
