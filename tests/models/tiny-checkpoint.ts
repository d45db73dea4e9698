// The reference's tiny GPT-2 checkpoint with some of its tensors or settings changed, written as a trainer would have.

import type { StoredTensor } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { bytesOf, checkpoint, push, tensor } from "../hub/checkpoint/build.ts";
import { fixture } from "../hub/temporary.ts";

/**
 * @param change tensors by their names in the checkpoint
 * @param hyper the hyper-parameters, pickled. Default masks without a Gaussian
 */
export async function tinyCheckpoint(
  change: (tensors: Map<string, StoredTensor>) => void = () => {},
  hyper: Uint8Array = push.dict({ no_gaussian: bytesOf(0x88) }),
): Promise<Uint8Array> {
  const tensors = await readSafetensors(fixture("tiny-gpt2-gaudi.safetensors"));
  change(tensors);
  return checkpointOf(tensors, hyper);
}

/** These tensors as a trainer would have written them. @param hyper the hyper-parameters, pickled */
export function checkpointOf(tensors: ReadonlyMap<string, StoredTensor>, hyper: Uint8Array): Uint8Array {
  const storages: Record<string, Uint8Array> = {};
  const state: Record<string, Uint8Array> = {};
  for (const [i, [name, { dtype, shape, data }]] of [...tensors].entries()) {
    const key = String(i);
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, side) => product * side, 1));
    storages[key] = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const storage = { U8: "ByteStorage", I64: "LongStorage" }[dtype as string] ?? "FloatStorage";
    state[name] = tensor({ key, storage, length: data.length, shape: [...shape], strides });
  }
  return checkpoint(push.dict({ state_dict: push.dict(state), hyper_parameters: hyper }), storages);
}
