"""``python litserve_forest.py PORT``: the model behind LitServe."""

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np
import session


class Plain(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.forest = session.Forest()

    # Without types: LitServe makes its route of them.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return np.asarray(request["inputs"], np.float32)

    def predict(self, matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return self.forest(matrix)

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        return {"outputs": output.tolist()}


class Together(Plain):
    """Requests that wait at the same time are one run, whatever number of rows each has."""

    def batch(self, inputs: list[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], list[int]]:
        return np.concatenate(inputs), [len(one) for one in inputs]

    def predict(self, matrix: Any) -> Any:
        rows, sizes = matrix
        return self.forest(rows), sizes

    def unbatch(self, output: Any) -> list[np.ndarray[Any, Any]]:
        found, sizes = output
        return np.split(found, np.cumsum(sizes)[:-1])


def main() -> None:
    api = (
        Together(max_batch_size=session.MOST_TOGETHER, batch_timeout=session.SECONDS_TOGETHER)
        if session.together()
        else Plain()
    )
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, log_level="error"
    )


if __name__ == "__main__":
    main()
