"""What the X server says of a monitor: its size, and that one which came later is lit."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import monitor

LIT = """Screen 0: minimum 320 x 200, current 1920 x 1080, maximum 16384 x 16384
HDMI-1 connected primary 1920x1080+0+0 (normal left inverted right x axis y axis) 509mm x 286mm
   1920x1080     60.00*+  50.00
DP-1 disconnected (normal left inverted right x axis y axis)
"""
DARK = """Screen 0: minimum 320 x 200, current 1024 x 768, maximum 16384 x 16384
HDMI-1 connected (normal left inverted right x axis y axis)
   1920x1080     60.00 +  50.00
DP-1 disconnected (normal left inverted right x axis y axis)
"""
# Nothing is known of what it could show: there is nothing to light.
MUTE = """Screen 0: minimum 320 x 200, current 1024 x 768, maximum 16384 x 16384
HDMI-1 connected (normal left inverted right x axis y axis)
DP-1 disconnected (normal left inverted right x axis y axis)
"""


@pytest.mark.parametrize(("said", "dark"), [(LIT, False), (DARK, True), (MUTE, False), ("", False)])
def test_a_monitor_that_is_not_used_is_found(said: str, dark: bool) -> None:
    assert monitor.dark(said) is dark


def play(monkeypatch: pytest.MonkeyPatch, folder: Path, said: str) -> None:
    """In the place of xrandr: ``--auto`` lights whatever there is."""
    (folder / "now").write_text(said)
    (folder / "lit").write_text(LIT)
    script = 'echo "$1" >> asked; if [ "$1" = --auto ]; then cp lit now; else cat now; fi'
    monkeypatch.setattr(monitor, "XRANDR", ("sh", "-c", f"cd {folder}; {script}", "xrandr"))


@pytest.mark.parametrize(
    ("said", "size", "asked"),
    [
        (LIT, (1920, 1080), ["--current"]),
        (DARK, (1920, 1080), ["--current", "--auto", "--current"]),
        (MUTE, (1024, 768), ["--current"]),
        ("", None, ["--current"]),
    ],
)
def test_the_picture_is_as_large_as_the_monitor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, size: tuple[int, int] | None, asked: list[str]
) -> None:
    play(monkeypatch, tmp_path, said)
    assert monitor.size() == size
    assert (tmp_path / "asked").read_text().split() == asked


def test_where_no_x_server_can_be_asked_there_is_no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "XRANDR", ("/nonexistent",))
    assert monitor.size() is None
