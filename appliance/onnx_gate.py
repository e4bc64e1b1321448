"""What an ONNX file must be before ONNX Runtime sees a byte of it.

ONNX Runtime opens external data by path, with the rights of the service, and would run operators of other libraries.
So the whole protobuf is walked here first, and only a self-contained graph of standard operators with the profile's
inputs and outputs passes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from appliance.errors import BundleRefused
from appliance.profile import Profile

INPUT = "features"  # float32 [N, F], F the profile's matrix columns
OUTPUT = "probabilities"  # float32 [N, 1 + M]: failure, then each mode in the profile's order

# Operators by domain; "ai.onnx" is another way to write "".
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_WAY_OUT = "Train it again with `appliance model train`; the model before it keeps serving."
# The value that Imputer replaces is NaN itself.
_NAN_ALLOWED = ("Imputer", "replaced_value_float")


def inspect(model_bytes: bytes, profile: Profile) -> None:
    """Refuse (BundleRefused) a model that is not self-contained, not standard, or not of this profile's shape."""
    model = _parse(model_bytes)
    for message in _walk(model):
        if isinstance(message, TensorProto) and (
            message.external_data or message.data_location == TensorProto.EXTERNAL
        ):
            raise _refused("external_data", f"The model keeps {message.name or 'a tensor'!r} in another file.")
    _check_operators(model)
    _check_values(model)
    _check_interface(model, profile)


def _parse(model_bytes: bytes) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(model_bytes)
    except DecodeError:
        raise _refused("onnx", "The model is no ONNX file.") from None
    # Fields that this library does not know could mean something to the runtime: what was looked at must be all there is.
    model.DiscardUnknownFields()
    if model.ByteSize() != len(model_bytes) or model.SerializeToString(deterministic=True) != model_bytes:
        raise _refused("onnx", "The model holds parts that are no ONNX of a known version.")
    return model


def _walk(message: Message) -> Iterator[Message]:
    """The message and every message below it: subgraphs, functions, sparse and quantised parts included."""
    stack = [message]
    while stack:
        here = stack.pop()
        yield here
        for field, value in here.ListFields():
            if field.message_type is not None:
                stack.extend([value] if isinstance(value, Message) else value)


def _check_operators(model: onnx.ModelProto) -> None:
    if model.functions or model.training_info:
        raise _refused("operator", "The model defines functions of its own.")
    domains = [opset.domain for opset in model.opset_import]
    domains += [message.domain for message in _walk(model) if isinstance(message, NodeProto)]
    for domain in domains:
        if domain not in _DOMAINS:
            raise _refused("operator", f"The model uses operators of {domain!r}, which is no standard domain.")
    for message in _walk(model):
        if isinstance(message, NodeProto):
            domain = "" if message.domain == "ai.onnx" else message.domain
            if not onnx.defs.has(message.op_type, domain):
                raise _refused(
                    "operator", f"The model uses the operator {message.op_type!r}, which ONNX does not know."
                )


def _check_values(model: onnx.ModelProto) -> None:
    """No weight, threshold or constant may be NaN or infinite: it would come out as a prediction."""
    for message in _walk(model):
        if isinstance(message, NodeProto):
            for attribute in message.attribute:
                if (message.op_type, attribute.name) != _NAN_ALLOWED:
                    _check_finite(_floats(attribute), f"{message.op_type}.{attribute.name}")
        elif isinstance(message, TensorProto):
            _check_finite(_tensor(message), message.name)


def _floats(attribute: AttributeProto) -> NDArray[np.float32]:
    return np.asarray([attribute.f, *attribute.floats], dtype=np.float32)


def _tensor(tensor: TensorProto) -> NDArray[np.float32]:
    if tensor.data_type not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
        return np.zeros(0, dtype=np.float32)
    try:
        return np.asarray(numpy_helper.to_array(tensor), dtype=np.float32)
    except (ValueError, TypeError):
        raise _refused("onnx", f"The model's tensor {tensor.name!r} has not the size that it says.") from None


def _check_finite(values: NDArray[np.float32], name: str) -> None:
    if not np.isfinite(values).all():
        raise _refused("nan", f"The model holds a value in {name} that is no number.")


def _check_interface(model: onnx.ModelProto, profile: Profile) -> None:
    for kind, found, name, width in (
        ("input", model.graph.input, INPUT, len(profile.matrix_names)),
        ("output", model.graph.output, OUTPUT, 1 + len(profile.modes)),
    ):
        if [value.name for value in found] != [name]:
            raise _refused("shape", f"The model's {kind}s are {[v.name for v in found]}, not {name!r} alone.")
        if not _is_matrix(found[0], width):
            raise _refused(
                "shape", f"The model's {kind} {name!r} is not float32 with {width} columns, as the profile says."
            )


def _is_matrix(value: ValueInfoProto, width: int) -> bool:
    """float32, any number of rows, ``width`` columns."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type != TensorProto.FLOAT or len(tensor.shape.dim) != 2:
        return False
    rows, columns = tensor.shape.dim
    return not rows.HasField("dim_value") and columns.HasField("dim_value") and columns.dim_value == width


def _refused(reason: str, message: str) -> BundleRefused:
    return BundleRefused(reason, message, _WAY_OUT)
