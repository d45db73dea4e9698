// Checkpoints that PyTorch wrote: the good ones give the tensors of their safetensors file bit for bit, each bad one
// fails with the words that say what is wrong, and nothing in any of them runs.

import { expect, test } from "bun:test";
import { CheckpointError, type Json, openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { readAll, readSafetensors } from "../../../hub/safetensors/read.ts";
import { bitsByName } from "../safetensors/tensors.ts";
import { fixture } from "../temporary.ts";

const GOOD: [checkpoint: string, truth: string][] = [
  ["tiny-gpt2-gaudi.ckpt", "tiny-gpt2-gaudi"],
  ["tiny-gpt2-gaudi-deflated.ckpt", "tiny-gpt2-gaudi"],
  ["tiny-gpt2-gaudi-legacy.ckpt", "tiny-gpt2-gaudi"],
  ["tiny-gpt2-gaudi-proto4.ckpt", "tiny-gpt2-gaudi"],
  ["opaque-hparams.ckpt", "opaque-hparams"],
  ["variants.ckpt", "variants"],
  ["variants-legacy.ckpt", "variants"],
  ["variants-cuda.ckpt", "variants"],
  ["variants-newer.ckpt", "variants"],
];

test.each(GOOD)("%s has the tensors of %s.safetensors, bit for bit", async (name, truth) => {
  const expected = bitsByName(await readSafetensors(fixture(`${truth}.safetensors`)));
  expect(bitsByName(await readAll(await openCheckpoint(fixture(name))))).toEqual(expected);
});

test.each(GOOD)("the tensors of %s stream to the bytes that they read to", async (name) => {
  const checkpoint = await openCheckpoint(fixture(name));
  for (const [tensor, { byteLength }] of checkpoint.tensors) {
    const pieces: Uint8Array[] = [];
    for await (const piece of checkpoint.chunks(tensor)) pieces.push(piece);
    const { data } = await checkpoint.read(tensor);
    expect(data.byteLength).toBe(byteLength);
    expect(Buffer.concat(pieces).equals(Buffer.from(data.buffer, data.byteOffset, data.byteLength))).toBe(true);
  }
  await checkpoint.close();
});

const NOTHING_RAN = "is not allowed in a checkpoint; it was refused, and no code was run";
const NO_END = "starts like a zip archive but does not end like one: it is cut off, or another kind of file";

test.each([
  ["bad-os-system.ckpt", undefined, `pickle: the global "posix.system" ${NOTHING_RAN}`],
  ["bad-os-system-legacy.ckpt", undefined, `pickle: the global "posix.system" ${NOTHING_RAN}`],
  ["bad-os-system-raw.pkl", undefined, `is not a PyTorch checkpoint: pickle: the global "os.system" ${NOTHING_RAN}`],
  ["bad-truncated.ckpt", undefined, NO_END],
  ["bad-truncated-legacy.ckpt", undefined, 'is cut off: storage "1116330000" ends after the end of the file'],
  ["bad-empty.ckpt", undefined, "is empty"],
  ["bad-not-a-checkpoint.ckpt", undefined, NO_END],
  ["bad-out-of-bounds.ckpt", "w", 'tensor "w": reaches 4000000 bytes into storage "0", which has 16'],
  ["bad-negative-offset.ckpt", "w", 'tensor "w": its offset is -2'],
  ["bad-short-storage.ckpt", "f32", 'tensor "f32": storage "0" has 30 bytes, where 60 are declared'],
  ["bad-missing-storage.ckpt", "f32", 'tensor "f32": storage "0" is missing from the file'],
  ["bad-crc.ckpt", "f32", 'tensor "f32": entry "variants/data/0" is damaged: its checksum is 8f854faa, not 1384c9ef'],
  ["bad-big-endian.ckpt", undefined, 'its byte order is "big"; only little-endian files are read'],
  ["bad-deep-nesting.ckpt", undefined, "nests values more than 200 levels deep"],
])("%s is refused", async (name, tensor, message) => {
  const file = fixture(name);
  const error = await openCheckpoint(file)
    .then(readAll)
    .catch((error: unknown) => error);
  expect(error).toBeInstanceOf(CheckpointError);
  expect(error).toMatchObject({ message: `${file}: ${message}`, file, tensor });
});

test("a checkpoint that cannot be read twice says so each time: a checksum is not forgotten", async () => {
  const checkpoint = await openCheckpoint(fixture("bad-crc.ckpt"));
  for (let i = 0; i < 2; i++) await expect(checkpoint.read("f32")).rejects.toThrow("is damaged");
  await checkpoint.read("f64");
  await checkpoint.close();
});

test("what is no tensor comes as JSON, tensors outside the state_dict by type and shape", async () => {
  const { rest, tied, close } = await openCheckpoint(fixture("tiny-gpt2-gaudi.ckpt"));
  await close();
  expect([...tied]).toEqual([["model.lm_head.weight", "model.transformer.wte.weight"]]);
  expect(rest).toMatchObject({
    epoch: 9,
    global_step: 2330,
    "pytorch-lightning_version": "2.0.4",
    optimizer_states: [{ state: { 0: { exp_avg: "<tensor F32 [2, 3]>" } }, param_groups: [{ lr: 0.0015 }] }],
    hyper_parameters: {
      model: { layer_type: "gaudi", gaudi_params: { min_widths: [0, 0], custom_grad: true } },
      train: { scheduler: null, big: 2 ** 40, negative: -3, unicode: "σ-annealing", empty: [], set: [1, 2] },
    },
  });
  expect(rest).not.toHaveProperty("state_dict");
  expect(JSON.parse(JSON.stringify(rest))).toEqual(rest);
});

test("a configuration held in a library's objects reads as its values, and as the same ones that plain data gives", async () => {
  const opaque = await openCheckpoint(fixture("opaque-hparams.ckpt"));
  const plain = await openCheckpoint(fixture("tiny-gpt2-gaudi.ckpt"));
  expect(opaque.rest.hyper_parameters).toEqual(plain.rest.hyper_parameters as Json);
  expect(opaque.rest.hparams_type).toBe("omegaconf.dictconfig.DictConfig");
  await Promise.all([opaque.close(), plain.close()]);
});

test("views that are not the same view are not tied", async () => {
  const { tied, close } = await openCheckpoint(fixture("variants.ckpt"));
  await close();
  expect([...tied]).toEqual([]);
});

test("a tensor that is not there, and a file that is not there, are errors that say so", async () => {
  const checkpoint = await openCheckpoint(fixture("variants.ckpt"));
  await expect(checkpoint.read("toString")).rejects.toThrow('variants.ckpt: has no tensor "toString"');
  expect(() => checkpoint.chunks("none")).toThrow('has no tensor "none"');
  await checkpoint.close();
  await expect(openCheckpoint(fixture("none.ckpt"))).rejects.toThrow("none.ckpt: cannot be opened: no such file");
  await expect(openCheckpoint(fixture("."))).rejects.toThrow("cannot be opened: it is not a file");
});
