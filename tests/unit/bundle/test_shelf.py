"""Publishing, installing, activating and going back, and what a power cut in the middle leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance import bundle, signing
from appliance.bundle import Bundle
from appliance.errors import ApplianceError, BundleRefused, NotReady, UsageError
from tests import small_models
from tests.profiles import load, text

Keys = list[Ed25519PublicKey]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def three(models: Path, key: Path) -> list[str]:
    """Three published versions of one profile, in the order of their names."""
    return sorted(bundle.publish(small_models.files("milling", seed), models, key).version for seed in range(3))


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if p.name != ".lock"}


def test_publishing_puts_a_sound_bundle_under_its_version(models: Path, key: Path, keys: Keys) -> None:
    published = bundle.publish(small_models.files("milling"), models, key)
    assert published.folder == models / "milling" / published.version
    assert names(models / "milling") == {published.version}
    assert bundle.load(models, "milling", published.version, keys).digest == published.digest
    assert bundle.profiles(models) == ["milling"]
    assert bundle.active_version(models, "milling") is None


def test_publishing_the_same_again_changes_nothing(models: Path, key: Path) -> None:
    first = bundle.publish(small_models.files("milling"), models, key)
    before = {p.name: p.stat().st_mtime_ns for p in first.folder.iterdir()}
    again = bundle.publish(small_models.files("milling"), models, key)
    assert again.digest == first.digest
    assert {p.name: p.stat().st_mtime_ns for p in first.folder.iterdir()} == before
    assert names(models / "milling") == {first.version}


def test_what_does_not_verify_is_not_published(models: Path, key: Path) -> None:
    broken = {**small_models.files("milling"), "model.onnx": b"no model"}
    with pytest.raises(BundleRefused):
        bundle.publish(broken, models, key)
    assert names(models / "milling") == set()


def test_a_version_is_never_replaced_by_another_model(models: Path, key: Path) -> None:
    one, other = small_models.files("milling", 0), small_models.files("milling", 1)
    first = bundle.publish(one, models, key)
    versions = [f["card.json"].split(b'"version": "')[1].split(b'"')[0] for f in (one, other)]
    renamed = {**other, "card.json": other["card.json"].replace(versions[1], versions[0])}
    with pytest.raises(BundleRefused) as caught:
        bundle.publish(renamed, models, key)
    assert caught.value.reason == "exists"
    assert bundle.load(models, "milling", first.version, [signing.public_key(key)]).digest == first.digest


def test_installing_copies_and_leaves_the_source(sound: Bundle, models: Path, keys: Keys) -> None:
    installed = bundle.install(sound.folder, models, keys)
    assert installed.folder == models / "milling" / sound.version
    assert installed.digest == sound.digest
    assert bundle.verify(sound.folder, keys).digest == sound.digest
    assert bundle.install(sound.folder, models, keys).digest == sound.digest


def test_installing_refuses_what_is_not_trusted_and_leaves_no_trace(
    sound: Bundle, models: Path, copy: Path, keys: Keys
) -> None:
    with pytest.raises(BundleRefused):
        bundle.install(sound.folder, models, [])
    (copy / "card.md").write_bytes(b"")
    with pytest.raises(BundleRefused):
        bundle.install(copy, models, keys)
    assert not models.exists()


@pytest.mark.parametrize("spoil", ["byte", "missing", "link"])
def test_installing_again_mends_a_spoiled_copy(
    sound: Bundle, models: Path, keys: Keys, tmp_path: Path, spoil: str
) -> None:
    installed = bundle.install(sound.folder, models, keys)
    model = installed.folder / "model.onnx"
    if spoil == "byte":
        model.write_bytes(b"\0" + model.read_bytes()[1:])
    elif spoil == "missing":
        model.unlink()
    else:
        installed.folder.rename(tmp_path / "elsewhere")
        installed.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleRefused):
        bundle.load(models, "milling", sound.version, keys)
    assert bundle.install(sound.folder, models, keys).digest == sound.digest
    assert bundle.load(models, "milling", sound.version, keys).digest == sound.digest


def test_activating_goes_forward_and_rolling_back_goes_the_same_way_back(
    models: Path, three: list[str], keys: Keys
) -> None:
    for version in (three[1], three[0], three[0], three[2]):
        assert bundle.activate(models, "milling", version, keys).version == version
        assert bundle.active(models, "milling", keys).version == version
    assert bundle.rollback(models, "milling", keys).version == three[0]
    assert bundle.rollback(models, "milling", keys).version == three[1]
    assert bundle.active_version(models, "milling") == three[1]
    with pytest.raises(BundleRefused) as caught:
        bundle.rollback(models, "milling", keys)
    assert caught.value.reason == "missing"
    assert bundle.active_version(models, "milling") == three[1]


def test_only_what_verifies_can_be_activated_or_returned_to(models: Path, three: list[str], keys: Keys) -> None:
    bundle.activate(models, "milling", three[0], keys)
    bundle.activate(models, "milling", three[1], keys)
    for spoiled in (three[0], three[2]):
        model = models / "milling" / spoiled / "model.onnx"
        model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleRefused):
        bundle.activate(models, "milling", three[2], keys)
    with pytest.raises(BundleRefused):
        bundle.rollback(models, "milling", keys)
    assert bundle.active(models, "milling", keys).version == three[1]


def test_the_active_profile_is_read_from_what_is_signed_without_the_runtime(
    models: Path, three: list[str], keys: Keys, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(NotReady):
        bundle.active_profile(models, "milling", keys)
    bundle.activate(models, "milling", three[0], keys)
    request.getfixturevalue("no_runtime")
    assert bundle.active_profile(models, "milling", keys) == load("milling")
    with pytest.raises(BundleRefused):
        bundle.active_profile(models, "milling", [])
    (models / "milling" / three[0] / "card.md").write_bytes(b"")
    with pytest.raises(BundleRefused):
        bundle.active_profile(models, "milling", keys)


def test_the_overview_names_what_is_active_and_what_is_spoiled(models: Path, three: list[str], keys: Keys) -> None:
    bundle.activate(models, "milling", three[1], keys)
    (models / "milling" / three[2] / "card.json").write_bytes(b"{}")
    (models / "milling" / ".new-left").mkdir()
    found = bundle.overview(models, "milling", keys)
    assert [entry.version for entry in found] == bundle.installed(models, "milling") == three
    assert [entry.active for entry in found] == [False, True, False]
    assert [bool(entry.problem) for entry in found] == [False, False, True]
    assert [entry.card.get("version") for entry in found] == [three[0], three[1], None]


def test_a_bundle_serves_under_no_other_name(models: Path, three: list[str], keys: Keys) -> None:
    shelf = models / "milling"
    shutil.rmtree(shelf / three[2])
    (shelf / three[0]).rename(shelf / three[2])
    with pytest.raises(BundleRefused) as caught:
        bundle.activate(models, "milling", three[2], keys)
    assert caught.value.reason == "name"
    shelf.rename(models / "pump")
    with pytest.raises(BundleRefused) as caught:
        bundle.activate(models, "pump", three[1], keys)
    assert caught.value.reason == "name"


@pytest.mark.parametrize("pointer", ["", "../../../etc", "no-such-version", "\0\0\0\0", "x" * 5000, "\xff"])
def test_a_pointer_to_nowhere_is_a_refusal(models: Path, three: list[str], keys: Keys, pointer: str) -> None:
    bundle.activate(models, "milling", three[0], keys)
    (models / "milling" / "active").write_text(pointer, encoding="latin-1")
    with pytest.raises(BundleRefused) as caught:
        bundle.active(models, "milling", keys)
    assert caught.value.reason == "missing"
    assert len(str(caught.value)) < 500


def test_an_empty_shelf_is_not_ready(models: Path, keys: Keys) -> None:
    with pytest.raises(NotReady):
        bundle.active(models, "milling", keys)
    with pytest.raises(BundleRefused):
        bundle.activate(models, "milling", "v1", keys)
    with pytest.raises(BundleRefused):
        bundle.rollback(models, "milling", keys)
    assert bundle.profiles(models) == []
    assert bundle.installed(models, "milling") == []
    assert not models.exists()


@pytest.mark.parametrize("name", ["../evil", "", "Milling", "a/b", "milling\n", "."])
def test_a_profile_name_is_no_path(models: Path, keys: Keys, name: str) -> None:
    with pytest.raises(UsageError):
        bundle.active_version(models, name)
    with pytest.raises(UsageError):
        bundle.installed(models, name)
    with pytest.raises(UsageError):
        bundle.activate(models, name, "v1", keys)


def test_profiles_do_not_touch_each_other(models: Path, key: Path, keys: Keys) -> None:
    mill = bundle.publish(small_models.files("milling"), models, key)
    pump = bundle.publish(small_models.files("pump"), models, key)
    bundle.activate(models, "milling", mill.version, keys)
    assert bundle.profiles(models) == ["milling", "pump"]
    assert bundle.active_version(models, "pump") is None
    assert pump.profile.name == "pump"
    with pytest.raises(BundleRefused):
        bundle.activate(models, "pump", mill.version, keys)


def cut_off(folder: Path, key: Path, *action: str) -> Iterator[int]:
    """Do it in processes that are gone before their 1st, 2nd, ... touch of ``folder``, until one gets through."""
    command = [sys.executable, "-m", "tests.unit.bundle.power_cut", str(folder), str(key.parent), *action]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        for line in driver.stdout:
            number, ended = map(int, line.split())
            assert ended in (0, 77), f"touch {number}: exit {ended}"
            yield number
            driver.stdin.write("next\n")
            driver.stdin.flush()
    assert driver.returncode == 0


def test_installing_may_be_cut_off_anywhere(sound: Bundle, models: Path, key: Path, keys: Keys) -> None:
    cuts = 0
    for _ in cut_off(models, key, "install", str(sound.folder)):
        cuts += 1
        # Either it is there, whole, or it is not there.
        for version in bundle.installed(models, "milling"):
            assert bundle.load(models, "milling", version, keys).digest == sound.digest
    assert cuts > 15
    assert bundle.installed(models, "milling") == [sound.version]
    bundle.install(sound.folder, models, keys)
    assert names(models / "milling") == {sound.version}, "what was left of cut-off tries is swept"


def test_activating_may_be_cut_off_anywhere(models: Path, three: list[str], key: Path, keys: Keys) -> None:
    bundle.activate(models, "milling", three[0], keys)
    bundle.activate(models, "milling", three[1], keys)
    for number in cut_off(models, key, "activate", "milling", three[2]):
        now = bundle.active(models, "milling", keys).version
        assert now in (three[1], three[2]), f"touch {number}"
    assert bundle.active_version(models, "milling") == three[2]
    assert bundle.rollback(models, "milling", keys).version == three[1]
    assert bundle.rollback(models, "milling", keys).version == three[0]


def test_going_back_may_be_cut_off_anywhere(models: Path, three: list[str], key: Path, keys: Keys) -> None:
    for version in three:
        bundle.activate(models, "milling", version, keys)
    for number in cut_off(models, key, "rollback", "milling"):
        now = bundle.active(models, "milling", keys).version
        assert now in three, f"touch {number}"
        if now != three[2]:
            break
    before = three.index(now)
    # Whatever was cut off, going back never skips a version and never comes to the same one again.
    for version in reversed(three[:before]):
        assert bundle.rollback(models, "milling", keys).version == version


def test_everything_is_on_the_disk_before_it_is_named_and_the_name_after(
    sound: Bundle, models: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process does not lose what the kernel holds; a power cut does, and cannot be played here."""
    happened: list[tuple[str, Path]] = []
    sync, rename, replace = os.fsync, Path.rename, Path.replace

    def seen_sync(descriptor: int) -> None:
        happened.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    def seen_rename(self: Path, target: Path) -> Path:
        happened.append(("name", target))
        return rename(self, target)

    def seen_replace(self: Path, target: Path) -> Path:
        happened.append(("name", target))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(Path, "rename", seen_rename)
    monkeypatch.setattr(Path, "replace", seen_replace)
    bundle.install(sound.folder, models, keys)
    shelf = models / "milling"
    named = happened.index(("name", shelf / sound.version))
    before = [path.name for act, path in happened[:named] if act == "sync" and path.parent.parent == shelf]
    assert sorted(before) == sorted(p.name for p in sound.folder.iterdir())
    assert any(act == "sync" and path.parent == shelf for act, path in happened[:named]), "the folder itself"
    assert ("sync", shelf) in happened[named:]
    happened.clear()
    bundle.activate(models, "milling", sound.version, keys)
    named = happened.index(("name", shelf / "active"))
    assert happened[named - 1][0] == "sync"
    assert happened[named - 1][1].name.startswith(".active.")
    assert happened[named + 1] == ("sync", shelf)


def test_errors_are_one_sentence_with_a_way_out(models: Path, three: list[str], keys: Keys) -> None:
    with pytest.raises(ApplianceError) as caught:
        bundle.activate(models, "milling", "20200101-none", keys)
    assert caught.value.way_out
    assert "\n" not in str(caught.value)
    assert three[0] in str(caught.value)


def test_a_profile_without_modes_or_limits_makes_a_bundle_too(models: Path, key: Path) -> None:
    bare = text("milling").split("[[modes]]")[0] + "[costs]\nmissed_failure = 1800\nfalse_alarm = 600\n"
    published = bundle.publish(small_models.files("milling", profile_text=bare), models, key)
    assert published.golden.expected.shape[1] == 1
    assert published.card["limits_alone"] is None
