// crossEntropy over ATen, some rows at a time: the temporaries of a log-sum-exp over a large vocabulary stay in the
// processor's cache, and on a GPU they stay small beside the logits.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import * as names from "../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import type { KernelTable } from "../register.ts";
import { single } from "./fused-layers.ts";

const narrow = aten("narrow");
const logSumExp = aten("logsumexp");
const mean = aten("mean", "dim");
const concatenate = aten("cat");
const gather = aten("gather");
const scatterInPlace = aten("scatter_add_");
const clamp = aten("clamp");
const cast = aten("to", "dtype");
const unsqueeze = aten("unsqueeze");
const squeeze = aten("squeeze", "dim");
const emptyLike = aten("empty_like");
const newEmpty = aten("new_empty");
const newFull = aten("new_full");
const subtract = aten("sub", "Tensor");
const subtractInto = aten("sub", "out");
const subtractInPlace = aten("sub_", "Scalar");
const expInPlace = aten("exp_");
const multiplyInPlace = aten("mul_", "Tensor");
const scale = aten("mul", "Scalar");
const equals = aten("eq", "Scalar");
const notEquals = aten("ne", "Tensor");
const fillInPlace = aten("masked_fill_", "Scalar");
const clone = aten("clone");

// Elements of logits at a time: two MB in a cache; on a GPU enough to fill it.
const CPU_CHUNK = 1 << 19;
const GPU_CHUNK = 1 << 26;
