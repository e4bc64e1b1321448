"""What is loaded, apart from what lies on disk: one verified bundle with its scorer for each profile."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from appliance import bundle as bundles
from appliance import drift, signing
from appliance.bundle import Bundle
from appliance.errors import ApplianceError, NotFound, NotReady, RequestError
from appliance.profile import Profile
from appliance.scorer import Scorer
from appliance.settings import Settings

if TYPE_CHECKING:
    from appliance.explain.explainer import Explainer

# Versions that do not serve any more, and whose rows somebody asks about: each holds some 50 MB.
_MOST_FORMER = 2


class _Lazy:
    """The explainer of a bundle, made when it is first asked for: most bundles of a fleet never are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Explainer | None = None

    def of(self, served: Served) -> Explainer:
        from appliance.explain.explainer import Explainer

        with self._lock:
            if self._made is None:
                self._made = Explainer(served.bundle, served.scorer, served.seen)
            return self._made


@dataclass(frozen=True, slots=True)
class Served:
    """A bundle that proved itself, and the session that scores with it."""

    bundle: Bundle
    scorer: Scorer
    # The least and the greatest value that training saw of each matrix column, both of shape (features,), float32.
    seen: tuple[NDArray[np.float32], NDArray[np.float32]] = field(init=False)
    _explainer: _Lazy = field(default_factory=_Lazy, init=False, repr=False, compare=False)

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

    def drift_bins(self) -> list[drift.Bins]:
        """Bins of its features, in matrix order, and of the score; empty where its sample is not of its shape."""
        reference, names = self.bundle.reference(), [*self.profile.matrix_names, drift.SCORE]
        if not reference.height or not set(names) <= set(reference.columns):
            return []
        low, high = np.append(self.seen[0], np.float32(0)), np.append(self.seen[1], np.float32(1))
        samples = (reference[name].to_numpy().astype(np.float32) for name in names)
        return [drift.bins_of(*one) for one in zip(names, samples, low.tolist(), high.tolist(), strict=True)]

    def explainer(self) -> Explainer:
        """What explains its rows; a second of work the first time. BundleRefused where it cannot be explained."""
        return self._explainer.of(self)


class Models:
    """The bundles that serve, by profile. Readers never wait for a reload; a reload never takes away what serves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._served: dict[str, Served] = {}
        self._refused: dict[str, tuple[str, str]] = {}  # profile -> (version, why), so that it is not tried each second
        self._refreshing = threading.Lock()
        self._former: OrderedDict[tuple[str, str], Served] = OrderedDict()
        self._looking_back = threading.Lock()

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

    def version(self, profile: str, version: str) -> Served:
        """One version, whether it serves or not; NotFound where it is not installed any more, BundleRefused where it is
        not to be trusted."""
        serving = self._served.get(profile)
        if serving is not None and serving.version == version:
            return serving
        with self._looking_back:
            found = self._former.pop((profile, version), None)
            if found is None:
                if version not in bundles.installed(self._settings.models, profile):
                    raise NotFound(
                        f"The model {version} of profile {profile!r} is not installed any more.",
                        "Install its bundle again with `appliance model install`.",
                    )
                found = self.load(profile, version)
            self._former[profile, version] = found
            while len(self._former) > _MOST_FORMER:
                self._former.popitem(last=False)
            return found

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
