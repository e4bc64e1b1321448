"""A runtime of MLServer for the model; the bench writes the settings beside it."""

from __future__ import annotations

import session
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Forest(MLModel):
    async def load(self) -> bool:
        self._forest = session.Forest()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        matrix = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("outputs", self._forest(matrix))
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])
