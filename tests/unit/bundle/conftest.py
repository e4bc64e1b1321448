"""A key pair, a shelf, and ways to tamper with a bundle that is otherwise sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance import bundle, signing
from appliance.bundle import Bundle
from tests import small_models


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trainer's private key; its public half lies beside it."""
    private = tmp_path_factory.mktemp("keys") / "signing.key"
    signing.create_key(private)
    return private


@pytest.fixture(scope="session")
def keys(key: Path) -> list[Ed25519PublicKey]:
    return signing.trusted_keys(key.parent)


@pytest.fixture(scope="session")
def sound(key: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A published bundle; tests leave it as it is."""
    return bundle.publish(small_models.files("milling"), tmp_path_factory.mktemp("shelf") / "models", key)


@pytest.fixture
def copy(sound: Bundle, tmp_path: Path) -> Path:
    """A copy of the sound bundle's folder to tamper with."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in sound.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture
def signed_with(tmp_path: Path, key: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """A folder of the sound bundle with some contents replaced, signed by the trusted key: an insider's bundle."""

    def make(changes: Mapping[str, bytes], sums: bytes | None = None) -> Path:
        contents = {**small_models.files("milling"), **changes}
        return small_models.write_signed(tmp_path / "insider", contents, key, sums)

    return make


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime must not even be asked: whoever makes a session fails the test."""
    for name in ("milling", "pump"):
        small_models.files(name)  # those who make bundles for the test may ask it

    def tripped(*_: Any, **__: Any) -> None:
        pytest.fail("ONNX Runtime was started on a bundle that had to be refused before")

    monkeypatch.setattr("onnxruntime.InferenceSession", tripped)
