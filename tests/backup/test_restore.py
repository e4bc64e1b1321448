"""The way back: onto the same box and a fresh one, all of it or nothing."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import psycopg2
import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import backup, backup_drill, backup_state, durable, restore, restore_files, statements
from appliance.errors import BackupTrouble
from appliance.store import dump, refill, revision
from appliance.store import engine as engines
from tests.backup.conftest import SECRET, Boxes, Stage


@pytest.fixture(params=["embedded", "debian"])
def cluster(request: pytest.FixtureRequest) -> object:
    """On every PostgreSQL that is at hand."""
    return request.getfixturevalue(f"{request.param}_cluster")


def test_a_fresh_box_gets_all_of_it(stage: Stage, boxes: Boxes, place: Path, owner: Path, tmp_path: Path) -> None:
    done = stage.backup()
    fresh = boxes.fresh("fresh", place)
    (tmp_path / "secrets" / "appliance_s3_keys").write_text("another")
    told = restore.run(fresh.settings, done.name, identity=owner)
    assert (told.name, told.secrets, told.from_version) == (done.name, True, revision.head())
    assert fresh.told() == stage.told()
    assert (tmp_path / "secrets" / "appliance_s3_keys").read_text() == SECRET
    assert (fresh.home / "profiles" / "milling.toml").read_text() == "title = 'mills'"
    # It is the box that signed them now.
    assert statements.public_key(fresh.settings) == statements.public_key(stage.settings)
    with fresh.opened() as box:
        backup.adopt(box, backup.backup_places.of(fresh.settings))
    assert fresh.rows("SELECT name FROM backup") == [(done.name,)]
    fresh.predict()  # numbers go on behind those that are taken


def test_rows_that_only_the_bucket_has_count_as_let_go_of(stage: Stage, boxes: Boxes, place: Path) -> None:
    stage.predict()
    stage.predict()
    first, second, third = (number for (number,) in stage.rows("SELECT id FROM file ORDER BY id"))
    stage.change("UPDATE file SET good_path = id || '.parquet', bad_path = id || '.csv'")
    stage.change("UPDATE file SET state = 'synced' WHERE id <> :third", third=third)
    done = stage.backup()
    fresh = boxes.fresh("fresh", place)
    for path in stage.rows("SELECT good_path, bad_path FROM file WHERE id = :second", second=second)[0]:
        (fresh.settings.data_dir / path).touch()
    told = restore.run(fresh.settings, done.name)
    states = dict(fresh.rows("SELECT id, state FROM file"))
    assert states == {first: "evicted", second: "synced", third: "predicted"}
    assert [note for note in told.notes if note.startswith("Rows of")] == [
        "Rows of 1 file are not on this disk; the bucket has them.",
        "Rows of 1 file are neither on this disk nor in a bucket; what was predicted of them is back.",
    ]


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "models/../../escaped", "models/link", "models/pipe"])
def test_an_archive_reaches_no_further_than_its_folder(stage: Stage, tmp_path: Path, name: str) -> None:
    """Who can sign a backup is not yet who may write anywhere."""
    entry = tarfile.TarInfo(name)
    entry.type = {"link": tarfile.SYMTYPE, "pipe": tarfile.FIFOTYPE}.get(Path(name).name, tarfile.REGTYPE)
    entry.linkname = "/etc"
    with tarfile.open(tmp_path / "files.tar", "w") as tar:
        tar.addfile(entry, io.BytesIO())
    with pytest.raises(BackupTrouble, match="cannot be unpacked"):
        restore_files.unpack(stage.settings, tmp_path / "files.tar", with_settings=True)
    assert not list(tmp_path.parent.rglob("escaped"))


def test_services_can_read_what_an_administrator_with_a_strict_mask_restored(
    stage: Stage, boxes: Boxes, place: Path, owner: Path
) -> None:
    stage.settings.keys.mkdir(exist_ok=True)
    (stage.settings.keys / "signing.pub").write_text("a public key")
    done = stage.backup()
    fresh = boxes.fresh("fresh", place)
    before = os.umask(0o077)
    try:
        restore.run(fresh.settings, done.name, identity=owner)
    finally:
        os.umask(before)
    public = [*fresh.settings.keys.glob("*.pub"), fresh.home / "profiles" / "milling.toml"]
    assert len(public) > 1
    assert {path.stat().st_mode & 0o777 for path in public} == {0o644}
    models = [path for path in fresh.settings.models.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in models} == {0o640}


def test_a_dry_run_changes_nothing(stage: Stage, boxes: Boxes, place: Path) -> None:
    done = stage.backup()
    fresh = boxes.fresh("fresh")
    before = fresh.told()
    told = restore.run(fresh.settings, str(place / done.name), dry_run=True)
    assert "Nothing was changed" in told.sentence()
    assert fresh.told() == before
    assert {path.name for path in fresh.settings.backups.iterdir()} == {".turn"}


def test_what_was_there_before_stays_until_it_is_forgotten(stage: Stage) -> None:
    done = stage.backup()
    stage.change("DELETE FROM token")
    (stage.settings.models / "milling" / "active").write_text("v2")
    restore.run(stage.settings, done.name)
    assert stage.rows("SELECT name FROM token") == [("kim",)]
    assert (stage.settings.models / "milling" / "active").read_text() == "v1"
    old = stage.settings.models.with_name("models" + restore_files.OLD)
    assert (old / "milling" / "active").read_text() == "v2"
    name = refill.named(stage.settings.require_dsn())
    assert restore.forget(stage.settings) == [name + refill.OLD]
    assert not old.exists()
    assert restore.forget(stage.settings) == []
    restore.run(stage.settings, done.name)
    restore.run(stage.settings, done.name)  # a second time, with what the first one left


def test_a_plan_that_was_half_written_when_it_was_killed_is_cleared_away(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = stage.backup()
    with monkeypatch.context() as cut:
        cut.setattr(Path, "unlink", lambda *_, **__: None)  # who is killed removes nothing
        cut.setattr(Path, "replace", _fail)
        with pytest.raises(KeyboardInterrupt):
            durable.write(stage.settings.backups / backup_state.PLAN, b"{", 0o600)
    assert len(list(stage.settings.backups.glob(".*.tmp"))) == 1
    assert restore.run(stage.settings, done.name, dry_run=True).dry_run
    assert list(stage.settings.backups.glob(".*.tmp")) == []


def _fail(*_: object) -> None:
    raise KeyboardInterrupt


def test_services_that_run_are_named_and_nothing_is_done(stage: Stage) -> None:
    done = stage.backup()
    stage.change("DELETE FROM token")
    with stage.opened() as box:
        engines.ping(box.engine)
        with pytest.raises(BackupTrouble, match="tests") as told:
            restore.run(stage.settings, done.name)
    assert told.value.code == "backup.in_use"
    assert stage.rows("SELECT count(*) FROM token") == [(0,)]


def test_somebody_who_comes_at_the_last_moment_stops_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    done = stage.backup()
    stage.change("DELETE FROM token")
    with stage.opened() as box:
        swap = refill.swap

        def late(admin: str, names: list[str]) -> None:
            engines.ping(box.engine)
            swap(admin, names)

        monkeypatch.setattr(refill, "swap", late)
        with pytest.raises(BackupTrouble, match="Somebody uses"):
            restore.run(stage.settings, done.name)
    assert backup_state.pending(stage.settings) == ""
    assert stage.rows("SELECT count(*) FROM token") == [(0,)]
    with refill.administrator(stage.settings.require_dsn()) as admin:
        name = refill.named(stage.settings.require_dsn())
        assert refill.there(admin, [name + refill.NEW, name + refill.OLD]) == set()


def test_tables_of_a_later_release_are_refused(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.change("UPDATE alembic_version SET version_num = '9999'")
    with monkeypatch.context() as patch:
        patch.setattr(backup, "__version__", "99.0")
        done = stage.backup()
    stage.change("UPDATE alembic_version SET version_num = :head", head=revision.head())
    with pytest.raises(BackupTrouble, match=r"release 99\.0 with tables 9999") as told:
        restore.run(stage.settings, str(place / done.name))
    assert told.value.code == "backup.version"
    assert "Install release 99.0" in told.value.way_out


def test_a_backup_of_a_later_format_is_refused(stage: Stage, place: Path) -> None:
    done = stage.backup()
    path = place / done.name / "manifest.json"
    said = json.loads(path.read_bytes())["manifest"] | {"format": 2, "release": "99.0"}
    path.write_bytes(statements.envelope(stage.settings, said))
    with pytest.raises(BackupTrouble, match="later release"):
        restore.run(stage.settings, str(place / done.name), dry_run=True)


def test_tables_of_an_earlier_release_are_brought_up(stage: Stage, boxes: Boxes, place: Path) -> None:
    """As the release before had them: without what 0014 and later ones made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup.backups, "keep", lambda *_, **__: None)
        patch.setattr(backup.backups, "there", lambda *_: [])
        patch.setattr(backup.backups, "removed", lambda *_: None)
        patch.setattr(backup.runs, "recorded", _unrecorded)
        stage.change("DROP INDEX ix_prediction_suspect_machine; DROP FUNCTION reserve_prediction_ids")
        stage.change("DROP VIEW report.backup; DROP TABLE backup; UPDATE alembic_version SET version_num = '0013'")
        done = stage.backup()
    fresh = boxes.fresh("fresh", place)
    told = restore.run(fresh.settings, done.name)
    assert (told.from_version, told.to_version) == ("0013", revision.head())
    assert fresh.rows("SELECT version_num FROM alembic_version") == [(revision.head(),)]
    assert fresh.rows("SELECT count(*) FROM backup") == [(0,)]
    assert fresh.rows("SELECT count(*) FROM prediction") == [(500,)]


def test_the_wrong_key_opens_nothing_and_changes_nothing(stage: Stage, tmp_path: Path) -> None:
    done = stage.backup()
    stage.change("DELETE FROM token")
    other = tmp_path / "other.key"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(BackupTrouble, match="does not open") as told:
        restore.run(stage.settings, done.name, identity=other)
    assert told.value.code == "backup.key"
    other.write_text("not a key")
    with pytest.raises(BackupTrouble, match=r"other\.key"):
        restore.run(stage.settings, done.name, identity=other)
    assert stage.rows("SELECT count(*) FROM token") == [(0,)]


def test_only_what_the_named_box_signed_is_taken(stage: Stage, boxes: Boxes, place: Path) -> None:
    done = stage.backup()
    fresh = boxes.fresh("fresh", place)
    told = restore.run(fresh.settings, done.name, dry_run=True)
    assert restore.run(fresh.settings, done.name, dry_run=True, signed_by=told.signed_by).rows == told.rows
    with pytest.raises(BackupTrouble, match="was not signed by that key"):
        restore.run(fresh.settings, done.name, signed_by="another")


def test_without_the_secrets_the_schedule_s_token_goes_on(stage: Stage, boxes: Boxes, place: Path) -> None:
    done = stage.backup()
    fresh = boxes.fresh("fresh", place, api_token="fa_of-this-box")
    restore.run(fresh.settings, done.name)
    assert {row[0] for row in fresh.rows("SELECT name FROM token WHERE revoked_at IS NULL")} == {"kim", "schedule"}
    restore.run(fresh.settings, done.name)


def test_settings_of_roles_and_the_owner_come_along(stage: Stage) -> None:
    name = refill.named(stage.settings.require_dsn())
    stage.change(f"ALTER DATABASE \"{name}\" SET work_mem = '5MB'")
    stage.change(f'ALTER ROLE CURRENT_USER IN DATABASE "{name}" SET search_path = public, report')
    restore.run(stage.settings, stage.backup().name)
    assert stage.rows("SHOW work_mem") == [("5MB",)]
    assert stage.rows("SHOW search_path") == [("public, report",)]


def test_a_database_that_came_out_as_another_is_not_taken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    done = stage.backup()
    stage.change("DELETE FROM token")
    fill = dump.fill

    def lossy(dsn: str, source: object, *, role: str = "") -> None:
        fill(dsn, source, role=role)  # type: ignore[arg-type]
        engine = engines.connect(dsn, "tests")
        with engines.transaction(engine) as connection:
            connection.exec_driver_sql("DELETE FROM prediction WHERE id = (SELECT min(id) FROM prediction)")
        engine.dispose()

    monkeypatch.setattr(dump, "fill", lossy)
    with pytest.raises(BackupTrouble, match="has 499 rows, and had 500"):
        restore.run(stage.settings, done.name)
    assert stage.rows("SELECT count(*) FROM token") == [(0,)]
    with stage.opened() as box, pytest.raises(BackupTrouble, match="has 499 rows"):
        backup_drill.once(box)


_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
_ROWS = st.lists(
    st.tuples(_TEXTS, st.floats(width=32), st.lists(st.floats(width=32), max_size=4), st.binary(max_size=20)),
    max_size=40,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_ROWS)
def test_whatever_rows_hold_comes_back_as_it_was(boxes: Boxes, tmp_path: Path, rows: list[object]) -> None:
    dsn = boxes.fresh(f"odd-{len(boxes.databases)}").settings.require_dsn()
    connection = psycopg2.connect(dsn)
    try:
        cursor = connection.cursor()
        cursor.execute(
            'CREATE TABLE "odd: 100 %(x)s" ("whole" text, "a:b" real, c real[], d bytea, PRIMARY KEY ("whole", d))'
        )
        put = 'INSERT INTO "odd: 100 %%(x)s" VALUES (%s, %s, %s::real[], %s) ON CONFLICT DO NOTHING'
        cursor.executemany(put, rows)
        connection.commit()
    finally:
        connection.close()
    file = tmp_path / f"{len(boxes.databases)}.dump"
    seen = dump.dump(dsn, file)
    with dump.throwaway(dsn, refill.named(dsn) + refill.NEW) as other:
        with file.open("rb") as source:
            dump.fill(other, source)
        assert dump.differences(other, seen.tables) == []


class _unrecorded:
    """A run that no book has."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
