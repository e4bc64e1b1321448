"""What others' programs are made of: each in an environment of its own, with the versions that stand in ``pins/``.

Made once, outside of the repository, and kept for the next run; nothing of it gets into the appliance's own.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.bench.patience import say

PINS = Path(__file__).parent / "pins"
THEIRS = Path(__file__).parent / "theirs"
INSTALL_SECONDS = 1800
_SAID = 300


class CannotBeHad(Exception):
    """The programs of a peer cannot be installed or started here, for the reason that it says."""


def python(name: str) -> Path:
    """The interpreter of the environment that ``pins/<name>.txt`` describes."""
    pins = PINS / f"{name}.txt"
    key = hashlib.sha256(pins.read_bytes() + platform.python_version().encode()).hexdigest()[:12]
    folder = _cache() / f"{name}-{key}"
    whole, interpreter = folder / "whole", folder / "bin" / "python"
    if not whole.exists():
        say(f"installing the environment of {name}, once")
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--quiet", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--quiet", "--python", str(interpreter), "--requirement", str(pins))
        whole.touch()
    return interpreter


def version(name: str, package: str) -> str:
    """Of a package, as it is pinned."""
    for line in (PINS / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        pinned, _, rest = line.partition("==")
        if pinned == package:
            return rest.split()[0]
    raise LookupError(f"{name} does not pin {package}")


def variables(**more: str) -> dict[str, str]:
    """The environment in which programs of peers run: none of ours, and nothing told to their makers."""
    clean: Mapping[str, str] = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("APPLIANCE_", "PYTHON", "VIRTUAL_ENV", "BENTOML_", "MLSERVER_", "GX_"))
    }
    silent = {"GX_ANALYTICS_ENABLED": "false", "BENTOML_DO_NOT_TRACK": "True"}
    return {**clean, **silent, "PYTHONPATH": str(THEIRS), "MALLOC_ARENA_MAX": "2", **more}


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "appliance-bench"


def _uv(*words: str) -> None:
    try:
        subprocess.run(
            [str(Path(sys.executable).with_name("uv")), *words],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        said = [line.strip() for line in error.stdout.splitlines() if line.strip()]
        raise CannotBeHad(" ".join(said)[:_SAID] or f"uv ended with {error.returncode}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBeHad(str(error)) from None
