// Prints the most bytes that tensors take at one time during a loss and its gradients, in a process of its own: the
// engine's peak is that of the whole process. Arguments: vocabulary, batch.

import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { languageLoss } from "../../../workbench/models/index.ts";
import { ids, tinyGpt2 } from "../../models/tiny.ts";

const [vocabulary, batch] = process.argv.slice(2).map(Number) as [number, number];
const engine = await openEngine({ engine: "torch", device: "cpu" });
const model = tinyGpt2({ vocab_size: vocabulary, n_positions: 1024, n_embd: 8, n_layer: 1 });
const windows = ids(batch, 1025);
const { value, grads } = tf.variableGrads(() => languageLoss(model, windows), [...model.parameters.values()]);
tf.dispose([value, grads]);
console.log(engine.memory()?.peak);
