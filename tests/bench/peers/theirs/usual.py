"""The usual pipeline, in an environment of its own: pandas, Great Expectations, 1000-row requests, ``to_sql``. Prints JSON.

Run by the bench of peers. What it is about comes as JSON on standard input: the file, the contract's rules, where its model
is served, the table. Time begins when all is imported and ends when predictions are committed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import httpx
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig
from sqlalchemy import REAL, create_engine, text
from sqlalchemy.dialects.postgresql import ARRAY

ROWS_A_REQUEST = 1000
ROWS_A_STATEMENT = 10_000


def main() -> int:
    asked = json.load(sys.stdin)
    steps: dict[str, float] = {}
    suite = _suite(asked["columns"])
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    whole = (
        context.data_sources.add_pandas("raw").add_dataframe_asset("file").add_batch_definition_whole_dataframe("all")
    )
    engine = create_engine(asked["dsn"].replace("postgresql://", "postgresql+psycopg2://", 1))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    with httpx.Client(base_url=asked["server"], timeout=60, trust_env=False) as server:
        server.get("/ready").raise_for_status()
        began, cpu = time.perf_counter(), time.process_time()
        with _timed(steps, "read"):
            cells = pd.read_csv(asked["file"], dtype=str, keep_default_na=False, na_values=[""])
            frame = _typed(cells, asked["columns"])
        with _timed(steps, "check"):
            bad = _broken(whole, suite, frame, cells)
        with _timed(steps, "files"):
            good = frame[~bad]
            good.to_csv(Path(asked["folder"]) / "good.csv", index=False)
            cells[bad].to_csv(Path(asked["folder"]) / "bad.csv", index=False)
        with _timed(steps, "predict"):
            answers = _predicted(server, good, asked["inputs"])
        with _timed(steps, "store"):
            _store(engine, good, answers, asked)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "steps": steps, "good": len(good), "bad": int(bad.sum())}))
    return 0


@contextmanager
def _timed(steps: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    steps[name] = time.perf_counter() - began


def _suite(columns: list[dict[str, Any]]) -> gx.ExpectationSuite:
    """The contract's rules as expectations of a table."""
    made: list[gxe.Expectation] = []
    for column in columns:
        name = column["header"]
        if column["required"]:
            made.append(gxe.ExpectColumnToExist(column=name))
            made.append(gxe.ExpectColumnValuesToNotBeNull(column=name))
        if column["minimum"] is not None or column["maximum"] is not None:
            made.append(
                gxe.ExpectColumnValuesToBeBetween(column=name, min_value=column["minimum"], max_value=column["maximum"])
            )
        if column["categories"]:
            made.append(gxe.ExpectColumnValuesToBeInSet(column=name, value_set=column["categories"]))
        if column["pattern"]:
            made.append(gxe.ExpectColumnValuesToMatchRegex(column=name, regex=column["pattern"]))
    made.append(gxe.ExpectCompoundColumnsToBeUnique(column_list=[column["header"] for column in columns]))
    return gx.ExpectationSuite("contract", expectations=made)


def _typed(cells: pd.DataFrame, columns: list[dict[str, Any]]) -> pd.DataFrame:
    """Numbers where there are some; what is none becomes missing, which the contract refuses."""
    kinds = {column["header"]: column["type"] for column in columns}
    convert: Callable[[str], pd.Series[Any]] = lambda name: (  # noqa: E731
        cells[name] if kinds[name] in ("text", "category") else pd.to_numeric(cells[name], errors="coerce")
    )
    return pd.DataFrame({name: convert(name) for name in cells.columns})


def _broken(whole: Any, suite: gx.ExpectationSuite, frame: pd.DataFrame, cells: pd.DataFrame) -> pd.Series[bool]:
    """True for rows that break a rule; of repeated rows the first is good."""
    batch = whole.get_batch(batch_parameters={"dataframe": frame})
    checked = batch.validate(suite, result_format={"result_format": "COMPLETE"})
    bad = pd.Series(False, index=frame.index)
    for one in checked.results:
        if one.exception_info.get("raised_exception"):
            raise RuntimeError(str(one.exception_info))
        rows = one.result.get("unexpected_index_list") or []
        if one.expectation_config.type == "expect_compound_columns_to_be_unique":
            again = cells.duplicated()
            rows = [row for row in rows if again[row]]
        bad[rows] = True
    return bad


def _predicted(server: httpx.Client, good: pd.DataFrame, inputs: dict[str, str]) -> list[dict[str, Any]]:
    wanted = good[list(inputs)].rename(columns=inputs)
    answers: list[dict[str, Any]] = []
    for start in range(0, len(wanted), ROWS_A_REQUEST):
        rows = wanted.iloc[start : start + ROWS_A_REQUEST].to_dict("records")
        answer = server.post("/predict", json={"rows": rows})
        answer.raise_for_status()
        answers += answer.json()["predictions"]
    return answers


def _store(engine: Any, good: pd.DataFrame, answers: list[dict[str, Any]], asked: dict[str, Any]) -> None:
    """Into the same table with the same indexes, in one transaction."""
    now = datetime.now(UTC)
    with engine.begin() as connection:
        last = connection.execute(
            text("SELECT setval('prediction_id', nextval('prediction_id') + :more)"), {"more": len(good) - 1}
        ).scalar_one()
        frame = pd.DataFrame(answers)
        frame.insert(0, "id", range(last - len(good) + 1, last + 1))
        frame["row"] = good.index + 1
        constant = {"predicted_at": now, "read_at": now, "source": 2, "flags": 0, **asked["constant"]}
        frame = frame.assign(**constant)
        frame.to_sql(
            "prediction",
            connection,
            if_exists="append",
            index=False,
            chunksize=ROWS_A_STATEMENT,
            dtype={"features": ARRAY(REAL), "modes": ARRAY(REAL)},
        )


if __name__ == "__main__":
    sys.exit(main())
