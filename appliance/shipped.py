"""Where profiles are found: the owner's folder, else those that come with the appliance."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from appliance import contract, features
from appliance import profile as profiles
from appliance.errors import UsageError
from appliance.profile import Profile
from appliance.settings import Settings


def folder(settings: Settings) -> Path:
    """The folder of profiles. The shipped ones are data beside the workshop's code, which is not imported for it."""
    if settings.profiles_dir is not None:
        return settings.profiles_dir
    spec = find_spec("model")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("No profiles come with this installation.", "Set profiles_dir to a folder that holds them.")
    return Path(next(iter(spec.submodule_search_locations))) / "profiles"


def find(settings: Settings, name_or_path: str) -> Profile:
    """A profile by name, or by the path of its TOML file; checked as a whole, its SQL, patterns and time format too."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = folder(settings) / f"{name_or_path}.toml"
        if not path.is_file():
            known = sorted(p.stem for p in path.parent.glob("*.toml"))
            raise UsageError(
                f"There is no profile {name_or_path!r}.",
                f"There are {', '.join(known)}; or give the path of a TOML file.",
            )
    profile = profiles.load(path)
    features.check(profile)
    contract.check(profile)
    return profile
