"""Checks ONNX files with onnx, runs them with onnxruntime, and prints what comes out.

Reads [{"file", "runs": [...]}, ...] from stdin. A run is {"inputs": {name: {"type", "shape", "data"}}}, or {"ids", "lengths",
"padding"}: token ids that are fed some at a time, the keys and values of those before beside them.
"""

import json
import os
import sys

import numpy as np
import onnx
import onnxruntime


def array(value):
    return np.array(value["data"], value["type"]).reshape(value["shape"])


def listed(value):
    return {"shape": list(value.shape), "data": value.ravel().tolist()}


def in_pieces(session, ids, lengths, padding):
    """Logits of tokens that come in pieces; each row has so many tokens of padding before its first."""
    names = [output.name for output in session.get_outputs()]
    mask = (np.arange(ids.shape[1])[None] >= np.array(padding)[:, None]).astype(np.int64)
    past = {
        value.name: np.zeros((len(ids), value.shape[1], 0, value.shape[3]), np.float32)
        for value in session.get_inputs()
        if value.name.startswith("past_key_values.")
    }
    logits, at = [], 0
    for length in lengths:
        feed = {"input_ids": ids[:, at : at + length], "attention_mask": mask[:, : at + length], **past}
        found = dict(zip(names, session.run(None, feed)))
        past = {name.replace("present", "past_key_values"): x for name, x in found.items() if name != "logits"}
        logits.append(found["logits"])
        at += length
    return np.concatenate(logits, 1)


def shape(value):
    return [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]


def answer(path, runs):
    # By its path, so that external data is checked too.
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path, load_external_data=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = path + ".optimized"
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(path, options)
    results = []
    for run in runs:
        if "ids" in run:
            results.append(listed(in_pieces(session, array(run["ids"]), run["lengths"], run["padding"])))
        else:
            feed = {name: array(value) for name, value in run["inputs"].items()}
            results.append(listed(session.run(["logits"], feed)[0]))
    optimized = onnx.load(options.optimized_model_filepath, load_external_data=False)
    os.remove(options.optimized_model_filepath)
    return {
        "results": results,
        "opset": {each.domain: each.version for each in model.opset_import},
        "producer": [model.producer_name, model.producer_version],
        "metadata": {each.key: each.value for each in model.metadata_props},
        "inputs": {each.name: shape(each) for each in model.graph.input},
        "outputs": {each.name: shape(each) for each in model.graph.output},
        "domains": sorted({node.domain for node in model.graph.node}),
        "run": sorted({node.op_type for node in optimized.graph.node}),
        "external": [each.name for each in model.graph.initializer if each.data_location],
    }


print(json.dumps([answer(each["file"], each["runs"]) for each in json.load(sys.stdin)]))
