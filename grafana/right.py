"""Whether the warnings were right, from what people told afterwards."""

from __future__ import annotations

from grafana.parts import (
    GREY,
    MACHINE,
    ORANGE,
    PROFILE,
    RED,
    SCREENS,
    Dashboard,
    colored,
    link,
    series,
    stat,
    table,
    unit,
)

_ALARMS = "FROM report.alarm WHERE $__timeFilter(opened_at) AND profile IN ($profile) AND machine IN ($machine) AND NOT simulated"
_MISSED = (
    "FROM report.missed WHERE $__timeFilter(happened_at) AND profile IN ($profile) AND machine IN ($machine)"
    " AND NOT simulated"
)
_RIGHT = "count(*) FILTER (WHERE outcome = 'failure')"
_FALSE = "count(*) FILTER (WHERE outcome = 'false_alarm')"
_RESTS = "Rests on the number beside; alarms of which nobody told anything are not counted."

DASHBOARD = Dashboard(
    uid="appliance-right",
    title="Was it right",
    question="Were the alarms right, and what was missed?",
    since="now-90d",
    refresh="5m",
    variables=[PROFILE, MACHINE, SCREENS],
    rows=[
        (
            5,
            [
                (
                    4,
                    stat(
                        "Precision",
                        f"SELECT {_RIGHT}::float8 / nullif({_RIGHT} + {_FALSE}, 0) {_ALARMS}",
                        unit="percentunit",
                        missing="nobody told",
                        help_=f"Of the alarms, the share that was a failure. {_RESTS}",
                    ),
                ),
                (2, stat("... of alarms", f"SELECT {_RIGHT} + {_FALSE} {_ALARMS}")),
                (
                    4,
                    stat(
                        "Recall",
                        f"SELECT found::float8 / nullif(found + missed, 0) FROM (SELECT (SELECT {_RIGHT} {_ALARMS}) AS found,"
                        f" (SELECT count(*) {_MISSED}) AS missed) AS told",
                        unit="percentunit",
                        missing="nobody told",
                        help_="Of the failures that people told of, the share that had an alarm.",
                    ),
                ),
                (2, stat("... of failures", f"SELECT (SELECT {_RIGHT} {_ALARMS}) + (SELECT count(*) {_MISSED})")),
                (
                    3,
                    stat(
                        "Missed failures",
                        f"SELECT count(*) {_MISSED}",
                        steps=[(None, GREY), (1, ORANGE)],
                    ),
                ),
                (
                    3,
                    stat(
                        "False alarms a machine and month",
                        f"""
                        SELECT (SELECT {_FALSE} {_ALARMS}) / nullif(
                            (SELECT count(*) FROM report.machine WHERE profile IN ($profile) AND machine IN ($machine)
                                AND NOT simulated)
                            * extract(epoch FROM $__timeTo()::timestamptz - $__timeFrom()::timestamptz) / 2629800, 0)
                        """,
                        decimals=2,
                        missing="no machine",
                        help_="Over the time chosen above, with all machines of the profile.",
                    ),
                ),
                (
                    3,
                    stat(
                        "Lead time, median",
                        f"SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY lead_hours) * 3600 {_ALARMS}",
                        unit="dtdurations",
                        missing="nobody told",
                        help_="From the alarm to the failure.",
                    ),
                ),
                (
                    3,
                    stat(
                        "Cost avoided",
                        f"""
                        SELECT sum(CASE outcome WHEN 'failure' THEN cost_missed_failure WHEN 'false_alarm' THEN -cost_false_alarm
                            ELSE 0 END)
                        FROM (SELECT profile, outcome {_ALARMS} AND outcome IS NOT NULL) AS told JOIN report.profile USING (profile)
                        """,
                        missing="nobody told",
                        help_="The profile's cost of a missed failure for each alarm that was right, less its cost of a false"
                        " alarm for each that was not, in the profile's currency.",
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
                        "What became of alarms, by week",
                        "SELECT $__timeGroupAlias(opened_at, '7d'), coalesce(outcome, CASE WHEN closed_at IS NULL THEN 'open'"
                        f" ELSE 'nobody told' END) AS metric, count(*) AS alarms {_ALARMS} GROUP BY 1, 2 ORDER BY 1, 2",
                        bars=True,
                        stacked=True,
                    ),
                ),
                (
                    12,
                    table(
                        "By machine",
                        f"""
                        SELECT profile AS "Profile", machine AS "Machine", count(*) AS "Alarms", {_RIGHT} AS "Right",
                            {_FALSE} AS "False", count(*) FILTER (WHERE outcome = 'planned_work') AS "Planned",
                            count(*) FILTER (WHERE outcome IS NULL AND closed_at IS NOT NULL) AS "Nobody told",
                            percentile_cont(0.5) WITHIN GROUP (ORDER BY lead_hours) * 3600 AS "Lead time"
                        {_ALARMS} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
                        """,
                        {"Lead time": unit("dtdurations")},
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
                        "Alarms",
                        f"""
                        SELECT alarm_id AS "Alarm", opened_at AS "Opened", profile AS "Profile", machine AS "Machine",
                            reason AS "Reason", coalesce(outcome, state) AS "Outcome", lead_hours * 3600 AS "Lead time"
                        {_ALARMS} ORDER BY opened_at DESC LIMIT 100
                        """,
                        {
                            "Alarm": link("Answer it", "${screens}/alarms?alarm=${__value.raw}"),
                            "Lead time": unit("dtdurations"),
                            "Outcome": colored({"open": RED, "false_alarm": ORANGE, "failure": GREY}),
                        },
                    ),
                )
            ],
        ),
    ],
)
