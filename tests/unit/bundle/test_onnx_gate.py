"""What must not reach ONNX Runtime, each made as an insider would: in a bundle that is properly signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from onnx import ModelProto, TensorProto, helper, numpy_helper

from appliance import bundle, onnx_gate
from appliance.errors import BundleRefused
from tests import small_models
from tests.profiles import load
from tests.unit.bundle import graphs

Keys = list[Ed25519PublicKey]


def _initializer(model: ModelProto) -> None:
    model.graph.initializer.append(graphs.outside("weights"))


def _named_only(model: ModelProto) -> None:
    """External data without the mark that says so."""
    tensor = graphs.outside("weights")
    tensor.data_location = TensorProto.DEFAULT
    model.graph.initializer.append(tensor)


def _marked_only(model: ModelProto) -> None:
    tensor = graphs.outside("weights")
    del tensor.external_data[:]
    model.graph.initializer.append(tensor)


def _node_attribute(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=graphs.outside("weights")))


def _node_attribute_list(model: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["unused"])
    node.attribute.append(helper.make_attribute("values", [graphs.outside("weights")]))
    model.graph.node.append(node)


def _subgraph(model: ModelProto) -> None:
    condition = numpy_helper.from_array(np.asarray(True), "condition")
    inside = graphs.branch(numpy_helper.from_array(np.zeros(1, dtype=np.float32)))
    inside.initializer.append(graphs.outside("weights"))
    safe = graphs.branch(numpy_helper.from_array(np.zeros(1, dtype=np.float32)), "safe")
    model.graph.initializer.append(condition)
    model.graph.node.append(helper.make_node("If", ["condition"], ["unused"], then_branch=safe, else_branch=inside))


def _deep_subgraph(model: ModelProto) -> None:
    condition = numpy_helper.from_array(np.asarray(True), "condition")
    safe = graphs.branch(numpy_helper.from_array(np.zeros(1, dtype=np.float32)), "safe")
    inside = graphs.branch(graphs.outside("weights"))
    for depth in range(5):
        node = helper.make_node("If", ["condition"], [f"out{depth}"], then_branch=safe, else_branch=inside)
        value = helper.make_tensor_value_info(f"out{depth}", TensorProto.FLOAT, [1])
        inside = helper.make_graph([node], f"depth{depth}", [], [value])
    model.graph.initializer.append(condition)
    model.graph.node.append(helper.make_node("If", ["condition"], ["unused"], then_branch=safe, else_branch=inside))


def _sparse(model: ModelProto) -> None:
    indices = numpy_helper.from_array(np.zeros(1, dtype=np.int64), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(graphs.outside("weights"), indices, [1]))


def _sparse_indices(model: ModelProto) -> None:
    values = numpy_helper.from_array(np.zeros(1, dtype=np.float32), "values")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, graphs.outside("indices"), [1]))


def _function(model: ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["out"], value=graphs.outside("weights"))
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("ai.onnx.ml", "Own", [], ["out"], [constant], opsets))


def _training(model: ModelProto) -> None:
    model.training_info.add().initialization.initializer.append(graphs.outside("weights"))


EXTERNAL = [_initializer, _named_only, _marked_only, _node_attribute, _node_attribute_list, _subgraph, _deep_subgraph,
            _sparse, _sparse_indices, _function, _training]  # fmt: skip


@pytest.mark.parametrize("change", EXTERNAL, ids=lambda change: change.__name__.strip("_"))
def test_data_in_other_files_is_refused_wherever_it_hides(
    signed_with: Callable[..., Path], keys: Keys, no_runtime: None, change: Callable[[ModelProto], None]
) -> None:
    folder = signed_with({"model.onnx": graphs.changed(change)})
    with pytest.raises(BundleRefused) as caught:
        bundle.verify(folder, keys)
    assert caught.value.reason == "external_data"


def _domain(model: ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def _import_only(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _unknown(model: ModelProto) -> None:
    model.graph.node[0].op_type = "RunShell"


def _unknown_inside(model: ModelProto) -> None:
    inside = graphs.branch(numpy_helper.from_array(np.zeros(1, dtype=np.float32)))
    inside.node.append(helper.make_node("RunShell", [], ["shell"], domain="ai.onnx.ml"))
    model.graph.node.append(helper.make_node("If", ["condition"], ["unused"], then_branch=inside, else_branch=inside))


def _own_function(model: ModelProto) -> None:
    """A function that takes the name of a standard operator."""
    node = helper.make_node("Identity", ["x"], ["y"])
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("ai.onnx.ml", "TreeEnsembleRegressor", ["x"], ["y"], [node], opsets))


def _attribute(model: ModelProto, name: str) -> onnx.AttributeProto:
    found: onnx.AttributeProto = next(a for n in model.graph.node for a in n.attribute if a.name == name)
    return found


def _nan_leaf(model: ModelProto) -> None:
    _attribute(model, "target_weights").floats[3] = float("nan")


def _endless_leaf(model: ModelProto) -> None:
    _attribute(model, "target_weights").floats[3] = float("inf")


def _nan_split(model: ModelProto) -> None:
    _attribute(model, "nodes_values").floats[0] = float("nan")


def _nan_tensor(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray([1.0, np.nan]), "weights"))


def _short_tensor(model: ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(4, dtype=np.float32), "weights")
    tensor.raw_data = tensor.raw_data[:-1]
    model.graph.initializer.append(tensor)


def _input_name(model: ModelProto) -> None:
    model.graph.input[0].name = "x"


def _input_width(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value += 1


def _input_free(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "F"


def _input_double(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _input_flat(model: ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[1]


def _input_sequence(model: ModelProto) -> None:
    model.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


def _second_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N", 1]))


def _one_row_only(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _output_name(model: ModelProto) -> None:
    model.graph.output[0].name = "y"


def _output_width(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1


def _no_output(model: ModelProto) -> None:
    del model.graph.output[:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_domain, "operator"),
        (_import_only, "operator"),
        (_unknown, "operator"),
        (_unknown_inside, "operator"),
        (_own_function, "operator"),
        (_nan_leaf, "nan"),
        (_endless_leaf, "nan"),
        (_nan_split, "nan"),
        (_nan_tensor, "nan"),
        (_short_tensor, "onnx"),
        (_input_name, "shape"),
        (_input_width, "shape"),
        (_input_free, "shape"),
        (_input_double, "shape"),
        (_input_flat, "shape"),
        (_input_sequence, "shape"),
        (_second_input, "shape"),
        (_one_row_only, "shape"),
        (_output_name, "shape"),
        (_output_width, "shape"),
        (_no_output, "shape"),
    ],
    ids=lambda value: getattr(value, "__name__", value).strip("_"),
)
def test_what_is_not_standard_not_finite_or_not_of_the_profile_is_refused(
    signed_with: Callable[..., Path],
    keys: Keys,
    no_runtime: None,
    change: Callable[[ModelProto], None],
    reason: str,
) -> None:
    folder = signed_with({"model.onnx": graphs.changed(change)})
    with pytest.raises(BundleRefused) as caught:
        bundle.verify(folder, keys)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "spoil",
    [
        lambda model: b"not a model",
        lambda model: model + bytes([0xFA, 0x3F, 1, 65]),  # a field that ONNX does not have
        lambda model: model * 2,  # a second message on top of the first
        lambda model: model[:-1],
    ],
    ids=["garbage", "unknown field", "twice", "cut"],
)
def test_bytes_that_another_reader_could_read_otherwise_are_refused(
    signed_with: Callable[..., Path], keys: Keys, no_runtime: None, spoil: Callable[[bytes], bytes]
) -> None:
    data = spoil(small_models.files("milling")["model.onnx"])
    with pytest.raises(BundleRefused) as caught:
        bundle.verify(signed_with({"model.onnx": data}), keys)
    assert caught.value.reason in {"onnx", "shape"}


def test_a_model_of_another_profile_is_refused(signed_with: Callable[..., Path], keys: Keys, no_runtime: None) -> None:
    with pytest.raises(BundleRefused) as caught:
        bundle.verify(signed_with({"model.onnx": small_models.files("pump")["model.onnx"]}), keys)
    assert caught.value.reason == "shape"


def test_a_model_that_gives_no_number_is_refused(signed_with: Callable[..., Path], keys: Keys) -> None:
    # Every piece is sound to look at: only the golden rows show it.
    folder = signed_with({"model.onnx": graphs.arithmetic(load("milling"), "Log")})
    with pytest.raises(BundleRefused) as caught:
        bundle.verify(folder, keys)
    assert caught.value.reason == "nan"


def test_a_model_that_lies_about_its_output_is_refused(signed_with: Callable[..., Path], keys: Keys) -> None:
    def narrow(model: ModelProto) -> None:
        node = model.graph.node[0]
        node.output[0] = "wide"
        reduce = helper.make_node("ReduceMax", ["wide"], [onnx_gate.OUTPUT], axes=[1], keepdims=1)
        model.graph.node.append(reduce)

    folder = signed_with({"model.onnx": graphs.changed(narrow)})
    with pytest.raises(BundleRefused) as caught:
        bundle.verify(folder, keys)
    assert caught.value.reason in {"shape", "onnx"}


@pytest.mark.parametrize("name", ["milling", "pump"])
def test_trained_models_pass(name: str) -> None:
    onnx_gate.inspect(small_models.files(name)["model.onnx"], load(name))


def test_a_sparse_tensor_of_numbers_inside_the_file_passes(no_runtime: None) -> None:
    def sparse(model: ModelProto) -> None:
        values = numpy_helper.from_array(np.ones(1, dtype=np.float32), "values")
        indices = numpy_helper.from_array(np.zeros(1, dtype=np.int64), "indices")
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1]))

    onnx_gate.inspect(graphs.changed(sparse), load("milling"))
