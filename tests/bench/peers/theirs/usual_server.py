"""The usual model server, in an environment of its own: FastAPI, pandas and a forest that joblib brings back.

``python usual_server.py MODEL.joblib FACTS.json PORT``: the facts say features, categories and the threshold.
Annotations are read while it runs, by FastAPI.
"""

import json
import sys
from pathlib import Path
from typing import Any

import joblib  # noqa: TID251 - what it is compared with; the appliance itself never does
import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import create_model


def app(model: Any, facts: dict[str, Any]) -> FastAPI:
    kinds = {"category": str, "text": str}
    fields: dict[str, Any] = {name: (kinds.get(kind, float), ...) for name, kind in facts["readings"].items()}
    row = create_model("Row", **fields)
    body = create_model("Body", rows=(list[row], ...))  # type: ignore[valid-type]
    made = FastAPI()

    @made.get("/ready")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    @made.post("/predict")
    def predict(asked: body) -> dict[str, Any]:  # type: ignore[valid-type]
        frame = pd.DataFrame([one.model_dump() for one in asked.rows])
        matrix = features(frame, facts)
        found = np.clip(model.predict(matrix), 0.0, 1.0)
        return {
            "predictions": [
                {"probability": one[0], "failing": one[0] >= facts["threshold"], "modes": one[1:], "features": used}
                for one, used in zip(found.tolist(), matrix.tolist(), strict=True)
            ]
        }

    return made


def features(frame: pd.DataFrame, facts: dict[str, Any]) -> np.ndarray[Any, Any]:
    for name, expression in facts["features"].items():
        frame[name] = frame.eval(expression)
    for name, categories in facts["ordered"].items():
        frame[name] = frame[name].map({category: rank for rank, category in enumerate(categories)})
    return frame[facts["inputs"]].to_numpy(dtype=np.float32)


def main() -> None:
    where, facts, port = sys.argv[1:]
    model = joblib.load(where)
    model.n_jobs = 1  # threads for a thousand rows cost more than they bring
    uvicorn.run(app(model, json.loads(Path(facts).read_text())), host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
