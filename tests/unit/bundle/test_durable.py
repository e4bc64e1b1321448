"""Files appear whole or not at all, and nothing of a killed process stays for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import durable


def test_writing_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    durable.write(tmp_path / "a", b"old")
    durable.write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        durable.write(tmp_path / "a", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_new_file_never_replaces(tmp_path: Path) -> None:
    durable.write_new(tmp_path / "a", b"old", mode=0o600)
    with pytest.raises(FileExistsError):
        durable.write_new(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_workspace_goes_unless_it_was_renamed(tmp_path: Path) -> None:
    with durable.workspace(tmp_path) as folder:
        durable.write_all(folder, {"a": b"1"})
    assert not folder.exists()
    with durable.workspace(tmp_path) as folder:
        folder.rename(tmp_path / "kept")
    assert {p.name for p in tmp_path.iterdir()} == {"kept", ".lock"}


def test_the_leftovers_of_a_killed_process_go_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from appliance import durable\n"
        "with durable.workspace(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('x')\n"
        "    print(folder.name, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, os.fspath(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        living = tmp_path / child.stdout.readline().strip()
        with durable.workspace(tmp_path):
            assert (living / "half").exists()
        child.kill()
        child.wait()
    assert living.exists()
    with durable.workspace(tmp_path):
        assert not living.exists()
