"""What is loaded, apart from what lies on disk: one verified bundle with its scorer for each profile."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance import bundle as bundles
from appliance import signing
from appliance.bundle import Bundle
from appliance.errors import ApplianceError, NotFound, NotReady, RequestError
from appliance.profile import Profile
from appliance.scorer import Scorer
from appliance.settings import Settings


@dataclass(frozen=True, slots=True)
class Served:
    """A bundle that proved itself, and the session that scores with it."""

    bundle: Bundle
    scorer: Scorer
    # The least and the greatest value that training saw of each matrix column, both of shape (features,), float32.
    seen: tuple[NDArray[np.float32], NDArray[np.float32]] = field(init=False)

    def __post_init__(self) -> None:
        columns = self.bundle.card["features"]
        low = np.array([column.get("minimum", -np.inf) for column in columns], dtype=np.float32)
        high = np.array([column.get("maximum", np.inf) for column in columns], dtype=np.float32)
        object.__setattr__(self, "seen", (low, high))

    @property
    def profile(self) -> Profile:
        return self.bundle.profile

    @property
    def version(self) -> str:
        return self.bundle.version


class Models:
    """The bundles that serve, by profile. Readers never wait for a reload; a reload never takes away what serves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._served: dict[str, Served] = {}
        self._refused: dict[str, tuple[str, str]] = {}  # profile -> (version, why), so that it is not tried each second
        self._refreshing = threading.Lock()

    @property
    def faults(self) -> dict[str, str]:
        """By profile, why the version that should serve does not."""
        return {profile: why for profile, (_, why) in self._refused.items()}

    def refresh(self) -> list[str]:
        """Take up what was activated since the last look; the names of the profiles that changed.

        The new bundle is verified and loaded before the old one is let go. One that does not verify is left aside, and
        the old one keeps serving.
        """
        changed = []
        with self._refreshing:
            for name in bundles.profiles(self._settings.models):
                wanted = bundles.active_version(self._settings.models, name)
                serving = self._served.get(name)
                if wanted is None or (serving is not None and serving.version == wanted):
                    self._refused.pop(name, None)
                    continue
                if self._refused.get(name, ("", ""))[0] == wanted:
                    continue
                try:
                    self._served = {**self._served, name: self.load(name, wanted)}
                except ApplianceError as error:
                    self._refused[name] = (wanted, str(error))
                else:
                    self._refused.pop(name, None)
                    changed.append(name)
        return changed

    def load(self, profile: str, version: str) -> Served:
        """Verify and load one installed version; BundleRefused says why not."""
        bundle = bundles.load(self._settings.models, profile, version, signing.trusted_keys(self._settings.keys))
        return Served(bundle, Scorer(bundle.model_bytes, bundle.profile, threads=self._settings.scoring_threads))

    def names(self) -> list[str]:
        return sorted(self._served)

    def all(self) -> list[Served]:
        return [self._served[name] for name in self.names()]

    def get(self, profile: str | None = None) -> Served:
        """The bundle that serves a profile; without a name, the only one there is."""
        served = self._served
        if profile is None:
            if not served:
                raise NotReady("No model serves yet.", "Train one with `appliance model train`, or install a bundle.")
            if len(served) > 1:
                raise RequestError(
                    "Several profiles are served.", f"Say ?profile= with one of {', '.join(sorted(served))}."
                )
            return next(iter(served.values()))
        if profile in served:
            return served[profile]
        if profile in self._refused:
            raise NotReady(
                f"No model serves profile {profile!r}: {self.faults[profile]}", "Install and activate a good one."
            )
        known = f"Served are {', '.join(sorted(served))}." if served else "Train or install a model first."
        raise NotFound(f"No model serves a profile {profile!r}.", known)
