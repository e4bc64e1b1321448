"""Nothing leaves the box unasked: a library that would tell its maker about its use is told not to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import small_models

_SCORE = """
import sys
from pathlib import Path
from appliance.scorer import Scorer
from tests import profiles
Scorer(Path(sys.argv[1]).read_bytes(), profiles.load("milling"))
"""
# Where it finds one of these it is silent by itself.
_QUIET_ANYWAY = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
_FOLDERS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")


def test_onnx_runtime_neither_counts_nor_numbers_its_users(tmp_path: Path) -> None:
    model, home = tmp_path / "model.onnx", tmp_path / "home"
    model.write_bytes(small_models.small_forest("milling", trees=2)[2])
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in (*_QUIET_ANYWAY, *_FOLDERS)}
    subprocess.run([sys.executable, "-c", _SCORE, str(model)], env=kept | {"HOME": str(home)}, check=True, timeout=60)
    # It would write down a number for this user, and what it is about to send.
    assert [path for path in home.rglob("*") if path.is_file()] == []
