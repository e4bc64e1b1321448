"""``python -m model.train``: labelled rows in, a proven and signed bundle on the shelf out.

Judged by folds beside the engineering limits, trained on all rows, converted, proven, published. When anything on the
way is in doubt nothing is published, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from appliance import bundle, settings, shipped, signing
from appliance import profile as profiles
from appliance.bundle import Bundle
from appliance.errors import ApplianceError, BundleRefused, UsageError
from appliance.profile import Profile
from appliance.settings import Settings
from model import card, data, evaluate, export, forest, package
from model.evaluate import Evaluation

# A date for reproducible builds, seconds since 1970; the clock where it is not set.
_EPOCH = "SOURCE_DATE_EPOCH"
_STEPS_BESIDE_FOLDS = 4


@dataclass(frozen=True, slots=True)
class Wishes:
    profile: str
    data: tuple[Path, ...]
    folds: int
    seed: int
    trees: int | None
    models: Path | None
    key: Path | None
    activate: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Trained:
    """What became of it. ``bundle.card`` holds all figures; ``evaluation`` those of this run."""

    bundle: Bundle
    new: bool  # False where the same content was on the shelf already
    active: bool
    evaluation: Evaluation
    seconds: float


class Steps:
    """Progress on standard error: a bar on a terminal, a line a step elsewhere."""

    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task("starting", total=total)

    @contextmanager
    def shown(self) -> Iterator[None]:
        if self._bar is None:
            yield
        else:
            with self._bar:
                yield

    def note(self, text: str) -> None:
        if self._bar is None:
            hint(text)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def step(self, what: str) -> None:
        if self._bar is None:
            hint(f"model train: {what}")
        else:
            self._bar.update(self._task, description=what, advance=1)


def train(wishes: Wishes, box: Settings, steps: Steps) -> Trained:
    """Train, prove and publish; raises an ApplianceError and publishes nothing where something is in doubt."""
    started, created = time.monotonic(), _now()
    models, key = wishes.models or box.models, wishes.key or box.private_key
    profile, text = read_profile(box, wishes.profile)
    known = data.read(profile, wishes.data, steps.step)
    forest.check_matrix(profile, known.matrix)
    evaluation = evaluate.cross_validate(known, wishes.folds, wishes.seed, wishes.trees, steps.step)

    steps.step("final forest on all rows")
    model = forest.fit(profile, known.matrix, known.targets, wishes.seed, wishes.trees)
    model_bytes = export.convert(model, profile)
    steps.step("proof that ONNX gives the same")
    probes = export.probes(model, profile, known.featured, known.matrix, wishes.seed)
    proof = evaluation.parity + export.demand_parity(model, model_bytes, profile, [known.matrix, *probes.values()])

    steps.step("card and publication")
    if not key.exists():
        signing.create_key(key)
        public = signing.public_path(key)
        steps.note(f"model train: a new signing key was made: {key}; boxes that shall trust it need {public}")
    content = package.content(known, model_bytes, wishes.folds, wishes.seed)
    present = _present(models, profile, content, key)
    if present is None:
        origin = card.Origin(
            version=package.version(created, content),
            content=content,
            created=created,
            seed=wishes.seed,
            folds=wishes.folds,
            trees=len(model.trees),
            seconds=time.monotonic() - started,
        )
        files = package.files(known, evaluation, model, model_bytes, proof, origin, text, probes)
        published = bundle.publish(files, models, key)
    else:
        published = present
    if wishes.activate:
        # Into the box's own shelf only what the box trusts; another shelf is judged by the key that signs for it.
        keys = box.keys if wishes.models is None else key.parent
        bundle.activate(models, profile.name, published.version, signing.trusted_keys(keys))
    active = bundle.active_version(models, profile.name) == published.version
    return Trained(published, present is None, active, evaluation, time.monotonic() - started)


def read_profile(box: Settings, name_or_path: str) -> tuple[Profile, str]:
    """The profile and the very text that goes into the bundle."""
    shipped.find(box, name_or_path)  # refuses what is not there or not sound
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = shipped.folder(box) / f"{name_or_path}.toml"
    text = path.read_text(encoding="utf-8")
    return profiles.parse(text, source=path.name), text


def report(trained: Trained) -> dict[str, Any]:
    """The JSON object of ``--json``."""
    found, figures = trained.bundle, trained.bundle.card
    chosen = {k: figures["at_threshold"][k] for k in ("precision", "recall", "f1", "cost_per_1000_rows")}
    return {
        "published": True,
        "new": trained.new,
        "profile": found.profile.name,
        "version": found.version,
        "folder": str(found.folder.absolute()),
        "active": trained.active,
        "rows": figures["data"]["rows"],
        "rows_left_out": figures["data"]["rows_left_out"],
        "failures": figures["data"]["failures"],
        "threshold": figures["threshold"],
        "cv": figures["cv"],
        "at_threshold": chosen,
        "limits_alone": figures["limits_alone"],
        "parity": figures["parity"],
        "seconds": round(trained.seconds, 2),
    }


def sentences(trained: Trained) -> str:
    found = trained.bundle
    head = "Published" if trained.new else "The same model is there already:"
    state = "; it is active" if trained.active else ""
    return (
        f"{head} {found.profile.name} {found.version} ({trained.seconds:.0f} s){state}.\n"
        f"{card.verdict(found.card, found.profile)}\n"
        f"scikit-learn and ONNX agree on {found.card['parity']['rows']:,} rows.\n"
        f"Card: {found.folder / 'card.md'}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 published, 1 a fault and nothing published, 2 wrong usage."""
    wishes = _parse(arguments)
    steps = Steps(wishes.folds + _STEPS_BESIDE_FOLDS)
    try:
        with steps.shown():
            trained = train(wishes, settings.load(), steps)
    except ApplianceError as error:
        return _failed(wishes, error.code, str(error), 2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        return _failed(wishes, "system", f"{what}. Nothing was published.", 1)
    except MemoryError:
        return _failed(wishes, "memory", "Memory is full. Nothing was published; train on fewer rows or trees.", 1)
    except KeyboardInterrupt:
        return _failed(wishes, "interrupted", "Interrupted. Nothing was published.", 130)
    print(json.dumps(report(trained)) if wishes.as_json else sentences(trained))  # noqa: T201
    return 0


def hint(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def _failed(wishes: Wishes, code: str, message: str, exit_code: int) -> int:
    hint(f"model train: {message}")
    if wishes.as_json:
        print(json.dumps({"published": False, "code": code, "message": message}))  # noqa: T201
    return exit_code


def _present(models: Path, profile: Profile, content: str, key: Path) -> Bundle | None:
    """A sound bundle of the same content that is on the shelf already, of whatever day."""
    for version in bundle.installed(models, profile.name):
        if version.endswith(f"-{package.short(content)}"):
            with suppress(BundleRefused):
                found = bundle.load(models, profile.name, version, [signing.public_key(key)])
                if found.card["content"] == content:
                    return found
    return None


def _now() -> datetime:
    fixed = os.environ.get(_EPOCH, "")
    return datetime.fromtimestamp(int(fixed), UTC) if fixed.isdecimal() else datetime.now(UTC)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        hint(f"model train: {message}. See --help.")
        raise SystemExit(2)


def _parse(arguments: Sequence[str] | None) -> Wishes:
    parser = _Parser(
        prog="appliance model train", description=__doc__.split("\n\n")[1] if __doc__ else None, allow_abbrev=False
    )
    parser.add_argument("--profile", required=True, help="name of a profile, or path of its TOML file")
    parser.add_argument(
        "--data", required=True, action="append", type=Path, help="labelled file, or folder of them; may be repeated"
    )
    parser.add_argument("--folds", type=_whole(2, 50), default=5, help="folds of the cross-validation (5)")
    parser.add_argument("--seed", type=_whole(0, 2**32 - 1), default=0, help="of folds and forest (0)")
    parser.add_argument("--trees", type=_whole(1, 1000), help="instead of the profile's number")
    parser.add_argument("--models", type=Path, help="shelf to publish to, instead of the setting's")
    parser.add_argument("--key", type=Path, help="private key to sign with; made where it is missing")
    parser.add_argument("--activate", action="store_true", help="let the model serve from now on")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    told = parser.parse_args(arguments)
    return Wishes(**{**vars(told), "data": tuple(told.data)})


def _whole(least: int, most: int) -> Any:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
