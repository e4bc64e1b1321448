"""``python -m bentoml serve bentoml_forest:Forest``: the model behind BentoML, which reads the types below."""

import bentoml
import numpy as np
import session

if session.together():

    @bentoml.service(workers=1, metrics={"enabled": False})
    class Forest:
        def __init__(self) -> None:
            self._forest = session.Forest()

        @bentoml.api(batchable=True, max_batch_size=100 * session.MOST_TOGETHER, max_latency_ms=1000)
        def predict(self, inputs: np.ndarray) -> np.ndarray:
            return self._forest(inputs)

else:

    @bentoml.service(workers=1, metrics={"enabled": False})
    class Forest:  # type: ignore[no-redef]
        def __init__(self) -> None:
            self._forest = session.Forest()

        @bentoml.api
        def predict(self, inputs: np.ndarray) -> np.ndarray:
            return self._forest(inputs)
