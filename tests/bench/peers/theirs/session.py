"""The same model from the same bytes, as each of the servers beside holds it: one session of ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

# How a request waits for others, where a server can put them together.
MOST_TOGETHER = 64
SECONDS_TOGETHER = 0.001


def together() -> bool:
    return os.environ["BENCH_TOGETHER"] == "yes"


class Forest:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(os.environ["BENCH_THREADS"])
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = Path(os.environ["BENCH_MODEL"]).read_bytes()
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, matrix: Any) -> np.ndarray[Any, Any]:
        """Probability of failure and of each mode, a row."""
        found: list[np.ndarray[Any, Any]] = self._session.run(None, {self._input: np.asarray(matrix, np.float32)})
        return found[0].reshape(len(matrix), -1)
