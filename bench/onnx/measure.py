"""Opens ONNX files with onnxruntime and times passes of them in turn.

Reads {"files", "tokens", "rounds", "threads"} from stdin. The first round warms up.
"""

import json
import sys
import time

import numpy
import onnxruntime

asked = json.load(sys.stdin)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = asked["threads"]
options.log_severity_level = 3


def timed(function):
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


opened = [timed(lambda: onnxruntime.InferenceSession(file, options)) for file in asked["files"]]
seconds = [{str(tokens): [] for tokens in asked["tokens"]} for _ in opened]
for tokens in asked["tokens"]:
    feed = {"input_ids": numpy.arange(tokens)[None] % 1000}
    # Passes of one token are short: each round has several.
    repeats = 1 if tokens > 1 else 20
    for turn in range(asked["rounds"] + 1):
        for (_, session), own in zip(opened, seconds):
            taken, _ = timed(lambda: [session.run(None, feed) for _ in range(repeats)])
            if turn > 0:
                own[str(tokens)].append(taken / repeats)
files = [{"load": load, "seconds": own} for (load, _), own in zip(opened, seconds)]
print(json.dumps({"version": onnxruntime.__version__, "files": files}))
