// What trainers save beside weights: NumPy's arrays and random states, recorded by type and shape, and whole modules,
// whose tensors have the names that state_dict gives them. Files that PyTorch wrote, and the same made by hand.

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type Checkpoint, openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { toFloat64 } from "../../../hub/safetensors/index.ts";
import { readAll } from "../../../hub/safetensors/read.ts";
import { PATIENCE, pythonWith, runPython } from "../../python/python.ts";
import { fixture, temporaryFolder } from "../temporary.ts";
import { bytesOf, checkpoint, push, tensor } from "./build.ts";

const SCRIPT = path.join(import.meta.dir, "trainer.py");
const at = temporaryFolder();
const python = pythonWith("torch", "numpy");
if (!python) console.log("trainer.test.ts: skipped what needs PyTorch and NumPy");

async function run(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runPython(python, SCRIPT, { args, env: { PYTHONWARNINGS: "ignore" } });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** @returns what lies beside the weights */
async function expectArrays(file: string): Promise<Checkpoint["rest"]> {
  const open = await openCheckpoint(file);
  expect(open.rest).toMatchObject({
    hyper_parameters: {
      class_weights: "<array float64 [3]>",
      pixels: "<array uint8 [2, 3]>",
      columns: "<array float32 [2, 3]>",
      big: "<array float64 [2]>",
      names: "<array str [2]>",
      objects: "<array object [2]>",
      rows: "<array void [2]>",
      days: "<array datetime64 [1]>",
      none: "<array float64 [0, 3]>",
      loss: 1.5,
    },
    rng: {
      generator: { __class__: "numpy.random.Generator" },
      numpy: { __class__: "numpy.random.RandomState" },
      bits: { __class__: "numpy.random.BitGenerator" },
      torch: "<tensor U8 [8]>",
    },
  });
  expect(JSON.stringify(open.rest)).toContain('"key":"<array uint32 [624]>"');
  const { data } = (await readAll(open)).get("w") as { data: Float32Array };
  expect(data).toEqual(Float32Array.of(0, 1, 2, 3, 4, 5));
  await open.close();
  return open.rest;
}

test.each(["numpy-1.ckpt", "numpy-2.ckpt"])(
  "weights of %s are read, arrays recorded by type and shape",
  async (name) => {
    await expectArrays(fixture(name));
  },
);

test.skipIf(!python).each([2, 3, 4, 5])(
  "weights beside arrays that this machine's NumPy pickled are read: protocol %d",
  async (protocol) => {
    await run("arrays", at("arrays.ckpt"), String(protocol));
    expect(await expectArrays(at("arrays.ckpt"))).toMatchObject({
      hyper_parameters: { masked: "<array float64 [2]>" },
    });
  },
  PATIENCE,
);

interface Truth {
  [name: string]: { shape: number[]; values: number[] };
}

async function expectModule(open: Checkpoint, truth: Truth) {
  const found = Array.from(await readAll(open), ([name, stored]) => {
    return [name, { shape: [...stored.shape], values: [...toFloat64(stored)] }] as const;
  });
  expect(found).toEqual(Object.entries(truth)); // in state_dict's order
  expect(Object.fromEntries(open.tied)).toEqual({
    "module.shared": "module.scale",
    "module.again.weight": "module.first.weight",
    "module.again.bias": "module.first.bias",
  });
  expect(open.rest).toMatchObject({
    value: {
      __class__: "torch.nn.parallel.data_parallel.DataParallel",
      module: {
        __class__: "__main__.net",
        num_heads: 2,
        plain: "<tensor F32 [2]>",
        activation: "torch.nn.functional.relu",
        method: "__main__.net.forward",
        blocks: { 2: { in_features: 2 } },
      },
    },
  });
}

test("a whole module's tensors have the names that state_dict gives them", async () => {
  const truth = JSON.parse(readFileSync(fixture("whole-module.json"), "utf8")) as Truth;
  await expectModule(await openCheckpoint(fixture("whole-module.pth")), truth);
});

test.skipIf(!python).each([[[]], [["legacy"]]])(
  "so have those of a whole module that this machine's PyTorch saves: %j",
  async (form) => {
    const truth = JSON.parse(await run("module", at("module.pth"), ...form)) as Truth;
    await expectModule(await openCheckpoint(at("module.pth")), truth);
  },
  PATIENCE,
);

const BYTES = { "0": new Uint8Array(Float32Array.of(1, 2).buffer) };
const two = tensor({ length: 2, shape: [2], strides: [1] });

/** The record of an object with this state. */
const object = (name: string, state: Record<string, Uint8Array>) =>
  bytesOf(push.global("my.lib", name), ")", 0x81, push.dict(state), "b");

/** Names of tensors, and what else there is. */
async function contentsOf(value: Uint8Array) {
  writeFileSync(at("made.pth"), checkpoint(value, BYTES));
  const { tensors, rest, close } = await openCheckpoint(at("made.pth"));
  await close();
  return { names: [...tensors.keys()], rest };
}

test("a module in a dictionary has its key before its names; one beside a state_dict is only named", async () => {
  const inner = object("Layer", { _parameters: push.dict({ weight: two }), _modules: push.dict({}) });
  const module = object("Net", {
    _parameters: push.dict({ bias: bytesOf("N") }),
    _buffers: push.dict({ mean: two }),
    _modules: push.dict({ fc: inner, none: bytesOf("N") }),
  });
  const one = await contentsOf(push.dict({ model: module, epoch: push.int(3) }));
  expect(one.names).toEqual(["model.mean", "model.fc.weight"]);
  expect(one.rest).toMatchObject({ epoch: 3, model: { __class__: "my.lib.Net" } });
  const other = await contentsOf(push.dict({ state_dict: push.dict({ w: two }), ema: module }));
  expect(other).toEqual({ names: ["w"], rest: { ema: "<module my.lib.Net>" } });
});

test("a module that holds itself ends", async () => {
  const parts = { _parameters: push.dict({ w: two }), _modules: bytesOf("}", push.text("self"), "h", 1, "s") };
  const module = bytesOf(push.global("my.lib", "Net"), ")", 0x81, "q", 1, push.dict(parts), "b");
  expect((await contentsOf(module)).names).toEqual(["w"]);
});

test("a module may have many buffers, and name many that are not persistent", async () => {
  const names = Array.from({ length: 100_000 }, (_, i) => push.text(`b${i}`));
  const parts = {
    _parameters: push.dict({ w: two }),
    _modules: push.dict({}),
    _buffers: bytesOf("}(", ...names.flatMap((name) => [name, "N"]), "u"),
    _non_persistent_buffers_set: bytesOf(0x8f, "(", ...names.toReversed(), 0x90),
  };
  expect((await contentsOf(object("Net", parts))).names).toEqual(["w"]);
});

test("a class that is named like a function is refused unless it is a module's", async () => {
  const parts = { _parameters: push.dict({ w: two }), _modules: push.dict({}) };
  expect((await contentsOf(object("net", parts))).names).toEqual(["w"]);
  await expect(contentsOf(object("net", { _parameters: push.dict({}) }))).rejects.toThrow(
    'the global "my.lib.net" is not allowed in a checkpoint; it was refused, and no code was run',
  );
});

test.each([
  ["a global", push.global("my.lib", "Mode")],
  ["text", push.text("os")],
])("an attribute of %s is not looked up", async (_, of) => {
  await expect(contentsOf(push.call("builtins", "getattr", of, push.text("system")))).rejects.toThrow(
    'the global "builtins.getattr" is not allowed in a checkpoint; it was refused, and no code was run',
  );
});
