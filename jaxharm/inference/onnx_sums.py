"""Sums in ONNX files, axis by axis.

onnxruntime adds the numbers of several axes one after the other: over an image of 512 x 512 the sum is
wrong in the fifth digit. One axis at a time the partial sums stay small, and so does the rounding.
"""

from typing import Any

import numpy as np

# What remains to be done over further axes once the first is reduced.
_REST = {"ReduceSum": "ReduceSum", "ReduceMean": "ReduceMean", "ReduceSumSquare": "ReduceSum"}


def one_axis_at_a_time(model: Any) -> None:
    """Changes every reduction of an onnx.ModelProto that has several fixed axes."""
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    nodes = []
    for index, node in enumerate(list(graph.node)):
        axes = constants.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type not in _REST or axes is None or axes.size < 2:
            nodes.append(node)
            continue
        keep = all(a.i for a in node.attribute if a.name == "keepdims")
        # From the last axis on: the others are then those of a smaller array, with their old numbers.
        steps, value = sorted(axes.tolist(), reverse=True), node.input[0]
        for number, axis in enumerate(steps):
            name = f"{node.output[0]}_step{number}"
            last = number == len(steps) - 1
            graph.initializer.append(
                numpy_helper.from_array(np.array([axis], np.int64), f"{name}_axis")
            )
            result = node.output[0] if last and keep else name
            kind = node.op_type if number == 0 else _REST[node.op_type]
            nodes.append(
                helper.make_node(
                    kind, [value, f"{name}_axis"], [result], f"sum{index}_{number}", keepdims=1
                )
            )
            value = result
        if not keep:
            nodes.append(
                helper.make_node("Squeeze", [value, node.input[1]], [node.output[0]], f"sum{index}")
            )
    del graph.node[:]
    graph.node.extend(nodes)
