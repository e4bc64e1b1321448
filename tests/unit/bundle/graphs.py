"""ONNX models made by hand: each does one thing that a bundle's model must not do."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from appliance.onnx_gate import INPUT, OUTPUT
from appliance.profile import Profile
from tests import small_models


@functools.cache
def _trained(name: str) -> bytes:
    return small_models.files(name)["model.onnx"]


def changed(change: Callable[[ModelProto], None], name: str = "milling") -> bytes:
    """The trained model of a profile with one thing changed."""
    model = onnx.load_model_from_string(_trained(name))
    change(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def outside(name: str) -> TensorProto:
    """A tensor whose data lies in another file."""
    tensor = numpy_helper.from_array(np.zeros(1, dtype=np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/shadow")
    return tensor


def branch(tensor: TensorProto, name: str = "branch") -> onnx.GraphProto:
    """A graph that gives a constant tensor."""
    constant = helper.make_node("Constant", [], [f"{name}_out"], value=tensor)
    value = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, [1])
    return helper.make_graph([constant], name, [], [value])


def arithmetic(profile: Profile, operator: str) -> bytes:
    """``probabilities`` = operator(first features): standard operators, sound to look at."""
    width, outputs = len(profile.matrix_names), 1 + len(profile.modes)
    starts = numpy_helper.from_array(np.asarray([0], dtype=np.int64), "starts")
    ends = numpy_helper.from_array(np.asarray([outputs], dtype=np.int64), "ends")
    axes = numpy_helper.from_array(np.asarray([1], dtype=np.int64), "axes")
    nodes = [
        helper.make_node("Slice", [INPUT, "starts", "ends", "axes"], ["first"]),
        helper.make_node("Neg", ["first"], ["negative"]),
        helper.make_node(operator, ["negative"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "arithmetic",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", outputs])],
        [starts, ends, axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString(deterministic=True)
    return data
