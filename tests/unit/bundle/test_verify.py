"""A bundle serves only when everything about it holds; every doubt is a refusal with its reason."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import bundle, bundle_check, signing
from appliance.bundle import Bundle
from appliance.bundle_check import FILES, SIGNED
from appliance.errors import BundleRefused
from appliance.scorer import Scorer
from tests import counts, small_models

Keys = list[Ed25519PublicKey]
SignedWith = Callable[..., Path]


def refusal(folder: Path, keys: Keys) -> str:
    with pytest.raises(BundleRefused) as caught:
        bundle.verify(folder, keys)
    assert caught.value.message.endswith(".")
    return caught.value.reason


def test_a_sound_bundle_is_returned_as_the_bytes_that_were_checked(copy: Path, keys: Keys) -> None:
    found = bundle.verify(copy, keys)
    wanted = small_models.files("milling")
    (copy / "model.onnx").write_bytes(b"something else")
    assert found.model_bytes == wanted["model.onnx"]
    assert found.profile.name == "milling"
    assert found.version == json.loads(wanted["card.json"])["version"]
    assert found.reference().columns == [*found.profile.matrix_names, "_probability", "_label"]
    scores = Scorer(found.model_bytes, found.profile).score(found.golden.matrix)
    assert scores.probability.tolist() == found.golden.expected[:, 0].tolist()


@given(data=st.data())
@settings(max_examples=counts.examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_byte_in_any_file_is_refused(copy: Path, keys: Keys, no_runtime: None, data: st.DataObject) -> None:
    file = copy / data.draw(st.sampled_from(sorted(FILES)))
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    spoiled = bytearray(whole)
    spoiled[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(spoiled)
    try:
        assert refusal(copy, keys) in {"signature", "checksum"}
    finally:
        file.write_bytes(whole)


@given(data=st.data())
@settings(max_examples=counts.examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_cut_short_or_grown_is_refused(copy: Path, keys: Keys, no_runtime: None, data: st.DataObject) -> None:
    file = copy / data.draw(st.sampled_from(sorted(FILES)))
    whole = file.read_bytes()
    kept = data.draw(st.integers(0, len(whole) - 1) | st.just(len(whole) + 1))
    file.write_bytes((whole + b"\n")[:kept])
    try:
        assert refusal(copy, keys) in {"signature", "checksum", "size"}
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_half_copied_folder_is_refused(copy: Path, keys: Keys, no_runtime: None, name: str) -> None:
    (copy / name).unlink()
    assert refusal(copy, keys) == "files"


@pytest.mark.parametrize("name", ["model.onnx.data", ".hidden", "notes.txt"])
def test_a_file_too_many_is_refused(copy: Path, keys: Keys, no_runtime: None, name: str) -> None:
    (copy / name).write_bytes(b"")
    assert refusal(copy, keys) == "files"


def test_a_folder_inside_is_refused(copy: Path, keys: Keys, no_runtime: None) -> None:
    (copy / "weights").mkdir()
    assert refusal(copy, keys) == "files"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_link_in_place_of_a_file_is_refused(copy: Path, keys: Keys, no_runtime: None, name: str) -> None:
    (copy / name).rename(copy.parent / name)
    (copy / name).symlink_to(copy.parent / name)
    assert refusal(copy, keys) == "files"


def test_a_pipe_or_a_folder_in_place_of_a_file_is_refused_and_not_waited_for(
    copy: Path, keys: Keys, no_runtime: None
) -> None:
    (copy / "card.md").unlink()
    os.mkfifo(copy / "card.md")
    assert refusal(copy, keys) == "files"
    (copy / "card.md").unlink()
    (copy / "card.md").mkdir()
    assert refusal(copy, keys) == "files"


def test_a_link_to_a_bundle_and_no_folder_at_all_are_refused(copy: Path, keys: Keys, no_runtime: None) -> None:
    (copy.parent / "link").symlink_to(copy)
    assert refusal(copy.parent / "link", keys) == "folder"
    assert refusal(copy / "model.onnx", keys) == "folder"
    assert refusal(copy.parent / "nowhere", keys) == "folder"


@pytest.mark.parametrize("name", sorted(SIGNED))
def test_an_oversized_file_is_refused_without_being_read_whole(
    copy: Path, keys: Keys, no_runtime: None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_check, "FILES", {**FILES, name: 100})
    os.truncate(copy / name, 2**40)  # a hole: it could not be read into memory
    assert refusal(copy, keys) == "size"


def test_the_limits_are_those_of_a_small_box() -> None:
    assert FILES["model.onnx"] == 256 * 1024 * 1024
    assert sum(FILES.values()) < 400 * 1024 * 1024


def test_an_unsigned_bundle_and_a_foreign_signature_are_refused(
    copy: Path, keys: Keys, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stranger = tmp_path / "stranger.key"
    signing.create_key(stranger)
    (copy / "SHA256SUMS.sig").write_bytes(signing.sign(stranger, (copy / "SHA256SUMS").read_bytes()))
    assert bundle.verify(copy, [*keys, signing.public_key(stranger)]).profile.name == "milling"
    request.getfixturevalue("no_runtime")
    assert refusal(copy, keys) == "signature"
    (copy / "SHA256SUMS.sig").write_bytes(b"")
    assert refusal(copy, keys) == "signature"


def test_a_box_without_keys_trusts_nothing(copy: Path, no_runtime: None) -> None:
    assert refusal(copy, []) == "signature"


def _sums(change: Callable[[list[str]], list[str]]) -> bytes:
    contents = small_models.files("milling")
    lines = [f"{hashlib.sha256(contents[name]).hexdigest()}  {name}" for name in sorted(contents)]
    return "".join(f"{line}\n" for line in change(lines)).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [*lines, f"{'0' * 64}  ../../active"],
        lambda lines: [*lines, f"{'0' * 64}  /etc/passwd"],
        lambda lines: [*lines, f"{'0' * 64}  weights/model.onnx"],
        lambda lines: [*lines, f"{'0' * 64}  SHA256SUMS"],
        lambda lines: [*lines, lines[0]],
        lambda lines: lines[1:],
        lambda lines: [lines[0].replace("  ", " *"), *lines[1:]],
        lambda lines: [lines[0].upper(), *lines[1:]],
        lambda lines: [*lines, ""],
        lambda lines: [],
    ],
)
def test_a_list_of_other_names_is_refused_even_when_signed(
    signed_with: SignedWith, keys: Keys, no_runtime: None, change: Callable[[list[str]], list[str]]
) -> None:
    assert refusal(signed_with({}, _sums(change)), keys) == "sums"


def test_signed_checksums_of_other_files_are_refused(signed_with: SignedWith, keys: Keys, no_runtime: None) -> None:
    folder = signed_with({"card.md": b"another card"}, _sums(lambda lines: lines))
    assert refusal(folder, keys) == "checksum"


def _card(**changes: Any) -> bytes:
    card = json.loads(small_models.files("milling")["card.json"])
    return json.dumps({**card, **changes}).encode()


def _golden(change: Callable[[dict[str, Any]], None]) -> bytes:
    golden = json.loads(small_models.files("milling")["golden.json"])
    change(golden)
    return json.dumps(golden).encode()


def _set(place: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda golden: golden.update({place: value})


def _first(place: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(golden: dict[str, Any]) -> None:
        golden[place][0] = value

    return change


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda: {"profile.toml": b"\xff\xfe"}, "profile"),
        (lambda: {"profile.toml": b"name = 'milling'"}, "profile"),
        (lambda: {"profile.toml": small_models.files("pump")["profile.toml"]}, "card"),
        (lambda: {"card.json": b"[]"}, "card"),
        (lambda: {"card.json": b"{" * 100_000}, "card"),
        (lambda: {"card.json": _card(version=None)}, "card"),
        (lambda: {"card.json": _card(version="../../evil")}, "card"),
        (lambda: {"card.json": _card(version="V1")}, "card"),
        (lambda: {"card.json": _card(version="v" * 62)}, "card"),
        (lambda: {"card.json": _card(version="v1\n")}, "card"),
        (lambda: {"card.json": _card(profile_hash="0" * 64)}, "card"),
        (lambda: {"golden.json": b"null"}, "golden"),
        (lambda: {"golden.json": b"[" * 100_000}, "golden"),
        (lambda: {"golden.json": b"{}"}, "golden"),
        (lambda: {"golden.json": _golden(lambda g: g.update({k: v[:49] for k, v in g.items()}))}, "golden"),
        (lambda: {"golden.json": _golden(lambda g: g["matrix"].pop())}, "golden"),
        (lambda: {"golden.json": _golden(_first("matrix", [0.0]))}, "golden"),
        (lambda: {"golden.json": _golden(_first("expected", ["x"] * 5))}, "golden"),
        (lambda: {"golden.json": _golden(_first("expected", [None] * 5))}, "golden"),
        (lambda: {"golden.json": _golden(_first("expected", [1.5] * 5))}, "golden"),
        (lambda: {"golden.json": _golden(_first("failing", 1))}, "golden"),
        (lambda: {"golden.json": _golden(_set("failing", []))}, "golden"),
    ],
)
def test_tables_that_do_not_fit_are_refused_even_when_signed(
    signed_with: SignedWith, keys: Keys, no_runtime: None, spoil: Callable[[], Mapping[str, bytes]], reason: str
) -> None:
    assert refusal(signed_with(spoil()), keys) == reason


def test_a_model_that_misses_its_golden_rows_is_refused(signed_with: SignedWith, keys: Keys) -> None:
    def shift(golden: dict[str, Any]) -> None:
        golden["expected"][7][2] = min(1.0, golden["expected"][7][2] + 2e-5)

    assert refusal(signed_with({"golden.json": _golden(shift)}), keys) == "self_test"


def test_a_single_other_verdict_among_the_golden_rows_is_refused(signed_with: SignedWith, keys: Keys) -> None:
    def flip(golden: dict[str, Any]) -> None:
        golden["failing"][3] = not golden["failing"][3]

    assert refusal(signed_with({"golden.json": _golden(flip)}), keys) == "self_test"


def test_the_golden_rows_are_read_back_to_the_last_bit(sound: Bundle) -> None:
    table = json.loads(small_models.files("milling")["golden.json"])
    matrix = np.asarray(table["matrix"], dtype=np.float64)
    assert (matrix == sound.golden.matrix.astype(np.float64)).all()


def test_two_identical_folders_have_one_digest(copy: Path, sound: Bundle, keys: Keys, tmp_path: Path) -> None:
    shutil.copytree(copy, tmp_path / "other")
    assert bundle.verify(tmp_path / "other", keys).digest == bundle.verify(copy, keys).digest == sound.digest
