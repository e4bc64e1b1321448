"""``python -m tests.bench.peers.forest TRAINING.csv OUT.joblib``: the forest of ``model.train``, as others keep it.

Same rows, same seed: the same trees that the served model was converted from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib  # noqa: TID251 - for the peer, which is compared with; the appliance never reads it

from appliance import profile as profiles
from model import data, forest
from tests.bench import workplace

SEED = 0


def main() -> int:
    training, out = map(Path, sys.argv[1:])
    profile = profiles.load(workplace.ROOT / "model" / "profiles" / f"{workplace.PROFILE}.toml")
    known = data.read(profile, (training,))
    joblib.dump(forest.fit(profile, known.matrix, known.targets, SEED).estimator, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
