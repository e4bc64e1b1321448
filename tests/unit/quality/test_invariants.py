"""What holds for every file, whatever is in it."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import contract
from appliance.batches import Batch
from appliance.cells import cast, quick
from appliance.features import dtype
from appliance.profile import MACHINE, ROW, TIME, Profile
from tests import counts, profiles
from tests.unit.quality.made import check, one_column

PUMP = profiles.load("pump")
HEADER = ["Pumpe", "Zeitpunkt", "Medium", "Temperatur", "Schwingung [mm/s]", "Druck [bar]", "Ausfall 24h", "Notiz"]

SOUND = ("P-01", "01.03.2026 08:00:00", "water", "61,5", "2,4", "6,1", "0", "x")
odd = st.sampled_from(
    ["", " ", "nan", "1e400", "-1", "1e5", "999", "7", "1.5", "water", "P-99", "=1+1", "'=1", "-5", "x\x01", "\ufffd", "1", "true",
     '"a;b"', '"a\nb"', '"a""b"', "Ö", "29.03.2026 02:30:00", "25.10.2026 02:30:00", "x" * 1200]
)  # fmt: skip
sound_or_odd = st.tuples(*(st.one_of(st.just(cell), odd) for cell in SOUND)).map(";".join)
line = st.one_of(
    st.just(";".join(SOUND)),
    sound_or_odd,
    sound_or_odd.map(lambda text: text.rsplit(";", 2)[0]),
    sound_or_odd.map(lambda text: f"{text};9"),
    st.text(alphabet='a;"\n\r,1', max_size=12),
)
bodies = st.lists(line, min_size=1, max_size=25).map("\n".join)


def rows_of(text: str, profile: Profile = PUMP, **options: Any) -> Any:
    return check(";".join(HEADER) + "\n" + text + "\n", profile, **options)


@given(body=bodies, size=st.integers(1, 30))
@settings(max_examples=counts.examples(150))
def test_every_row_ends_good_or_bad_and_the_batches_do_not_matter(body: str, size: int) -> None:
    profile = profiles.changed("pump", 'decimal = ","', 'decimal = ","\nduplicate_rows = "bad"')
    body = f"{';'.join(SOUND)}\n{body}"
    whole = rows_of(body, profile)
    good, bad = whole.good[ROW].to_list(), whole.bad[ROW].to_list()
    assert sorted(good + bad) == list(range(1, len(good) + len(bad) + 1))
    assert all(whole.bad["_reasons"].str.len_chars() > 0)
    assert whole.bad["_reasons"].null_count() == 0
    assert sum(count for (rule, _), count in whole.rules().items() if rule != "extra_column") >= len(bad)
    assert whole.good.select(MACHINE, TIME).null_count().row(0) == (0, 0)
    parts = rows_of(body, profile, batch_rows=size)
    assert parts.good.equals(whole.good)
    assert parts.bad.equals(whole.bad)
    assert parts.rules() == whole.rules()


@given(body=bodies)
@settings(max_examples=counts.examples(150))
def test_good_rows_keep_the_contract_and_checking_them_again_changes_nothing(body: str) -> None:
    good = rows_of(";".join(SOUND) + "\n" + body).good
    names = [name for name in good.columns if not name.startswith("_")]
    assert good.select(names).schema == {name: dtype(PUMP.column(name)) for name in names}
    contract.schema(PUMP, names).validate(good.select(names), lazy=True)
    target = io.BytesIO()
    good.select(names).write_parquet(target)
    again = check(target.getvalue(), PUMP, form="parquet")
    assert again.bad.height == 0
    assert again.good.drop(ROW).equals(good.drop(ROW))


def typed_frames(count: int) -> st.SearchStrategy[pl.DataFrame]:
    """Frames of the right types and any values."""
    number = st.one_of(st.none(), st.sampled_from([0.0, 60.0, 60.1, -0.1, 25.0]), st.floats(allow_nan=False))
    word = st.one_of(st.none(), st.sampled_from(["water", "P-01", "P-1", "glycol", "x\n"]), st.text(max_size=4))
    row = st.tuples(word, word, number, number, number, st.one_of(st.none(), st.booleans()))
    names = ("pump", "fluid", "temperature", "vibration", "pressure", "failed")
    schema = {name: dtype(PUMP.column(name)) for name in names}
    return st.lists(row, max_size=count).map(lambda rows: pl.DataFrame(rows, schema=schema, orient="row"))


@given(frame=typed_frames(12))
@settings(max_examples=counts.examples(100))
def test_pandera_finds_what_the_rules_find(frame: pl.DataFrame) -> None:
    def comparable(found: contract.Broken) -> dict[tuple[str, str], list[bool]]:
        return {(rule, column): mask.tolist() for rule, column, mask in found}

    assert comparable(contract.validate(PUMP, frame)) == comparable(contract.broken(PUMP, frame))


def test_nothing_is_good_that_pandera_has_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that the rules forgot is still kept."""
    found = contract.broken
    monkeypatch.setattr(
        contract, "broken", lambda *a: [item for item in found(*a) if item[:2] != ("range", "pressure")]
    )
    lines = [";".join(SOUND)] * 999 + [";".join(SOUND).replace("6,1", "99"), ";".join(SOUND).replace("2,4", "99")]
    result = rows_of("\n".join(lines))
    assert result.good.height == 999
    assert result.reasons() == {
        1000: "Druck [bar]: outside of 0 to 25 bar",
        1001: "Schwingung [mm/s]: outside of 0 to 60 mm/s",
    }


plain = st.one_of(
    st.text(max_size=10).filter(lambda text: "\0" not in text),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(
        ["0", "1", "true", "L", "M", " L", "=1", "-1", "+x", "1,5", "2026-03-29 02:30", "2026-03-01 08:00", "a b"]
    ),
)


@pytest.mark.parametrize(
    "profile",
    [
        one_column(type="number"),
        one_column(type="number", file={"separator": ";", "decimal": ","}),
        one_column(type="integer"),
        one_column(type="boolean"),
        one_column(type="category", categories=["L", "M"]),
        one_column(type="text"),
        one_column(type="time", role="time",
                   time={"from": "column", "column": "x", "format": "%Y-%m-%d %H:%M", "zone": "Europe/Berlin"}),
    ],
    ids=lambda profile: profile.column("x").type + profile.file.decimal,
)  # fmt: skip
@given(cells=st.lists(plain, min_size=1, max_size=50))
@settings(max_examples=counts.examples(60))
def test_the_quick_way_is_the_slow_way_or_silence(profile: Profile, cells: list[str]) -> None:
    column = profile.column("x")
    frame = pl.DataFrame(
        {"X": [cell.encode("utf-8", "replace").decode() or None for cell in cells]}, schema={"X": pl.String}
    )
    how = cast(column, "X", profile, pl.String())
    result = frame.select(
        quick(column, "X", profile, pl.String()).alias("quick"),
        how.value.alias("slow"),
        pl.any_horizontal(mask.fill_null(False) for _, mask in how.faults).alias("fault"),
    )
    told = result.filter(pl.col("quick").is_not_null())
    assert told["quick"].equals(told["slow"], null_equal=True)
    assert not told["fault"].any()


def test_a_check_that_was_switched_off_by_the_environment_still_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandera.config

    monkeypatch.setattr(pandera.config.CONFIG, "validation_enabled", False)
    monkeypatch.setattr(pandera.config.CONFIG, "validation_depth", pandera.config.ValidationDepth.SCHEMA_ONLY)
    frame = pl.DataFrame({"fluid": ["water"] * 600 + ["beer"]})
    ((rule, column, mask),) = contract.validate(PUMP, frame)
    assert (rule, column, mask.sum(), mask[-1]) == ("category", "fluid", 1, True)


def test_a_frame_of_wrong_types_is_no_verdict_on_rows() -> None:
    from appliance.errors import ApplianceError

    with pytest.raises(ApplianceError, match="vibration"):
        contract.validate(PUMP, pl.DataFrame({"vibration": ["2"] * 600}))


def test_an_empty_batch_is_nothing() -> None:
    from appliance.quality import Checker
    from tests.unit.quality.made import NOW

    for profile in (PUMP, profiles.load("milling")):
        header = [column.header for column in profile.columns]
        batch = Batch.of(pl.DataFrame(schema=dict.fromkeys(header, pl.String)))
        checked = Checker(profile, header, "M1", NOW).check(batch)
        assert (checked.good.height, checked.bad.height, checked.issues) == (0, 0, [])
