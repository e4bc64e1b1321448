"""The disk of a box: what outlives its power cuts."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tests.box import host
from tests.box.host import call

# Folders that make up what a disk starts with; what stands in an earlier one hides what stands in a later one.
Image = tuple[Path, ...]


class Disk(Protocol):
    """Where a box lives. ``root`` shows its files while it is attached, whether the box runs or not.

    A disk whose own power fails, such as an image in a file of which the state at one instant is kept, is another
    class of this shape.
    """

    root: Path

    def attach(self) -> None: ...

    def detach(self) -> None: ...

    def freeze(self, folder: Path) -> Image: ...


class Layer:
    """A layer above an image, made in no time. The kernel that writes it lives on, so a power cut of the box loses
    what programs had not handed over yet, and nothing that they had."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.root = folder / "root"
        self._image, self._upper, self._work = image, folder / "upper", folder / "work"

    def attach(self) -> None:
        if host.mounts_below(self.root):
            return
        for folder in (self.root, self._upper, self._work):
            folder.mkdir(exist_ok=True)
        options = f"lowerdir={':'.join(map(str, self._image))},upperdir={self._upper},workdir={self._work}"
        # Folders of the image can be renamed, as on any disk.
        options += ",redirect_dir=on"
        call("mount", "-t", "overlay", self.root.parent.name, "-o", options, self.root)

    def detach(self) -> None:
        for point in host.mounts_below(self.root):
            call("umount", point)

    def freeze(self, folder: Path) -> Image:
        """Make an image of all that it holds; its own part of that moves to ``folder``."""
        self.detach()
        self._upper.rename(folder)
        return (folder, *self._image)
