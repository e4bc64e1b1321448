"""What the model says, and whether it is still asked about what it learned from."""

from __future__ import annotations

from grafana.parts import (
    BLUE,
    GREY,
    MACHINE,
    MODEL,
    ORANGE,
    PROFILE,
    RED,
    SOURCE,
    YELLOW,
    Dashboard,
    annotation,
    bars,
    colored,
    series,
    stat,
    table,
    unit,
)

_CHOSEN = (
    "WHERE $__timeFilter(predicted_at) AND profile IN ($profile) AND machine IN ($machine) AND source IN ($source)"
    " AND model_version IN ($model)"
)
# Days are whole: the range begins with the day that its beginning lies in.
_DAYS = (
    "WHERE day BETWEEN ($__timeFrom()::timestamptz AT TIME ZONE 'UTC')::date AND ($__timeTo()::timestamptz AT TIME ZONE"
    " 'UTC')::date AND profile IN ($profile) AND model_version IN ($model)"
)
_LEVELS = {"much": RED, "some": ORANGE, "few": GREY, "none": GREY}


def _by_minute(view: str, what: str) -> str:
    """Rows over time. Counted by the minute first: the arithmetic of Grafana's groups is dear, and rows are many."""
    return f"""
        SELECT $__timeGroupAlias(minute, $__interval), metric, sum(rows)::float8 AS rows
        FROM (SELECT date_bin('1 minute', predicted_at, '2000-01-01') AS minute, {what} AS metric, count(*) AS rows
            FROM report.{view} {_CHOSEN} GROUP BY 1, 2) AS counted
        GROUP BY 1, 2 ORDER BY 1, 2
    """


DASHBOARD = Dashboard(
    uid="appliance-model",
    title="Model and drift",
    question="What does the model say, and do machines still send what it learned from?",
    variables=[PROFILE, MACHINE, SOURCE, MODEL],
    annotations=[
        annotation(
            "Model versions",
            BLUE,
            """
            SELECT activated_at AS "time", profile || ' is served by ' || model_version AS text, 'model' AS tags
            FROM report.model WHERE $__timeFilter(activated_at) AND profile IN ($profile)
            """,
        )
    ],
    rows=[
        (
            4,
            [
                (4, stat("Predictions", f"SELECT count(*) FROM report.prediction {_CHOSEN}")),
                (4, stat("Failing", f"SELECT count(*) FILTER (WHERE failing) FROM report.prediction {_CHOSEN}")),
                (4, stat("Passing", f"SELECT count(*) FILTER (WHERE NOT failing) FROM report.prediction {_CHOSEN}")),
                (
                    4,
                    stat(
                        "Failing share within a day",
                        "SELECT sum(failing) / nullif(sum(rows), 0) FROM report.verdict WHERE profile IN ($profile)",
                        unit="percentunit",
                        missing="no rows",
                    ),
                ),
                (
                    4,
                    stat(
                        "In training",
                        "SELECT avg(expected_share) FROM report.verdict WHERE profile IN ($profile)",
                        unit="percentunit",
                        missing="no rows",
                        help_="The share of training rows that the model would call failing without having seen them.",
                    ),
                ),
                (
                    4,
                    stat(
                        "Rows outside of the training range",
                        f"SELECT sum(outside)::float8 / nullif(sum(rows), 0) FROM report.outside {_DAYS} AND machine IN ($machine)",
                        unit="percentunit",
                        steps=[(None, GREY), (0.05, ORANGE)],
                        missing="no rows",
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
                        "Predictions by source",
                        _by_minute("prediction", "source"),
                        bars=True,
                        stacked=True,
                    ),
                ),
                (
                    12,
                    series(
                        "Failing rows by way of failing",
                        _by_minute("failing", "mode"),
                        bars=True,
                        stacked=True,
                        help_="The way that the model holds likeliest for each row.",
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
                        "Probability now against the training sample",
                        f"""
                        SELECT CASE WHEN upto IS NULL THEN 'more' ELSE '<= ' || round(upto::numeric, 4) END AS "Probability",
                            sum(rows) / nullif(max(all_rows), 0) AS "now", max(expected) AS "training sample"
                        FROM (
                            SELECT upto, tenth, rows, expected, sum(rows) OVER () AS all_rows FROM report.score
                            {_DAYS} AND active
                        ) AS s GROUP BY tenth, upto ORDER BY tenth
                        """,
                        x="Probability",
                        unit="percentunit",
                        help_="Each bar is about a tenth of the training sample. For one profile at a time.",
                    ),
                ),
                (
                    12,
                    series(
                        "PSI by feature",
                        f"SELECT \"time\", profile || ' · ' || label AS metric, psi FROM report.drift {_DAYS} AND rows >= 200"
                        " ORDER BY 1, 2",
                        lines=[(None, GREY), (0.1, YELLOW), (0.25, RED)],
                        help_="Of a whole day and all machines. From 0.1 on some, from 0.25 on much has changed; docs/drift.md.",
                    ),
                ),
            ],
        ),
        (
            10,
            [
                (
                    24,
                    table(
                        "Features of the newest day",
                        f"""
                        SELECT profile AS "Profile", label AS "Feature", level AS "Drift", psi AS "PSI", chance AS "By chance",
                            ks AS "KS", trained_from AS "Trained from", trained_to AS "Trained to", below AS "Below",
                            above AS "Above", missing AS "Missing", rows AS "Rows", day::text AS "Day"
                        FROM report.drift d {_DAYS} AND day = (
                            SELECT max(o.day) FROM report.outside o WHERE o.profile = d.profile AND o.model_version = d.model_version
                            AND o.day <= ($__timeTo()::timestamptz AT TIME ZONE 'UTC')::date)
                        ORDER BY psi DESC
                        """,
                        {
                            "Drift": colored(_LEVELS),
                            **{
                                name: unit("short", 3)
                                for name in ("PSI", "By chance", "KS", "Trained from", "Trained to")
                            },
                            **{name: unit("percentunit", 1) for name in ("Below", "Above", "Missing")},
                        },
                        "few: fewer than 200 rows, which say nothing. By chance: the PSI that rows of the same kind exceed once"
                        " in a thousand.",
                    ),
                )
            ],
        ),
        (
            8,
            [
                (
                    24,
                    series(
                        "Rows outside of the training range",
                        'SELECT "time", machine AS metric, outside::float8 / nullif(rows, 0) AS share FROM report.outside'
                        f" {_DAYS} AND machine IN ($machine) ORDER BY 1, 2",
                        unit="percentunit",
                    ),
                )
            ],
        ),
    ],
)
