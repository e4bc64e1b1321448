"""Feature matrix -> ONNX Runtime -> probability, verdict, failure modes. Pure: it gets bytes and arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from appliance.errors import BundleRefused
from appliance.onnx_gate import INPUT, OUTPUT
from appliance.profile import Profile

# In the model's metadata: it was trained to take missing features (NaN).
MISSING_KEY = "missing_features"
MISSING_TAKEN = "imputed"


@dataclass(frozen=True, slots=True)
class Scores:
    """One entry a row: probability of failure and of each mode in [0, 1], and the verdict."""

    probability: NDArray[np.float32]  # (rows,)
    failing: NDArray[np.bool_]  # (rows,)
    modes: NDArray[np.float32]  # (rows, len(profile.modes))


class Scorer:
    """One session of one verified model; may be shared by threads."""

    def __init__(self, model_bytes: bytes, profile: Profile, threads: int = 2) -> None:
        """BundleRefused("onnx") where ONNX Runtime cannot load the bytes. Only verified bytes belong here."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads win a little on an idle box and lose a lot on one that Airflow and Postgres share.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base but this
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BundleRefused("onnx", f"ONNX Runtime cannot load the model: {reason}") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._takes_missing = metadata.get(MISSING_KEY) == MISSING_TAKEN
        self._threshold = np.float32(profile.threshold)
        self._width = len(profile.matrix_names)
        self._outputs = 1 + len(profile.modes)

    def score(self, matrix: NDArray[np.float32]) -> Scores:
        """Scores of a matrix float32 (rows, features), as :func:`appliance.features.matrix` gives it.

        A row has the same scores whether it comes alone or among others. BundleRefused("nan") where the model gives no
        number, or where features are missing and it was never taught what that means.
        """
        if matrix.dtype != np.float32 or matrix.ndim != 2 or matrix.shape[1] != self._width:
            raise ValueError(f"a matrix float32 (rows, {self._width}) is wanted, not {matrix.dtype} {matrix.shape}")
        if not len(matrix):
            return self._scores(np.zeros((0, self._outputs), dtype=np.float32))
        if not self._takes_missing and np.isnan(matrix).any():
            raise BundleRefused(
                "nan", "A feature is missing, and the model was trained on rows where none was.", _WAY_OUT
            )
        (result,) = self._session.run([OUTPUT], {INPUT: matrix})
        if result.shape != (len(matrix), self._outputs):
            wanted = (len(matrix), self._outputs)
            raise BundleRefused("shape", f"The model gives an output of shape {result.shape}, not {wanted}.", _WAY_OUT)
        if not np.isfinite(result).all():
            raise BundleRefused("nan", "The model gives a probability that is no number.", _WAY_OUT)
        return self._scores(np.clip(result, np.float32(0), np.float32(1)))

    def _scores(self, result: NDArray[np.float32]) -> Scores:
        probability = np.ascontiguousarray(result[:, 0])
        return Scores(probability, probability >= self._threshold, np.ascontiguousarray(result[:, 1:]))


_WAY_OUT = "Go back with `appliance model rollback`, and train again."
