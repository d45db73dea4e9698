// What `gblr inspect` refuses: broken models and command lines that cannot be meant, each in one line.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, existsSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { type StoredTensor, writeSafetensors } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { sourcesOf } from "../../hub/safetensors/write.ts";
import {
  at,
  config,
  GBLR,
  layers,
  makeModels,
  REFERENCE,
  removeModels,
  run,
  tensors,
  zeros,
} from "./inspect-models.ts";

beforeAll(makeModels);
afterAll(removeModels);

const FIRST = "model.transformer.h.0.attn.c_attn";

/** Each way to break a model, and what the line must say. */
const BROKEN: Record<string, { break: () => Promise<void> | void; says: string }> = {
  "a truncated file": {
    break: () => truncateSync(at("broken", "model.safetensors"), 20000),
    says: "model.safetensors",
  },
  "no config.json": {
    break: () => rmSync(at("broken", "config.json")),
    says: "config.json: cannot be opened: no such file",
  },
  "no tensors": { break: () => rmSync(at("broken", "model.safetensors")), says: "has neither model.safetensors" },
  "a config.json that is no JSON": {
    break: () => writeFileSync(at("broken", "config.json"), "{"),
    says: "config.json: is not a JSON object",
  },
  "a config.json without the layer's size": {
    break: () => writeFileSync(at("broken", "config.json"), config({ layers: { [FIRST]: { blocks: 16 } } })),
    says: `layer "${FIRST}": n_in must be a whole number from 1, is missing`,
  },
  "packed layers in a dense config.json": {
    break: () => writeFileSync(at("broken", "config.json"), "{}"),
    says: "is packed, but no config.json in its folder gives its n_in and n_out",
  },
  "a size that the spans leave": {
    break: () =>
      writeFileSync(
        at("broken", "config.json"),
        config({ layers: { ...layers, [FIRST]: { ...layers[FIRST], n_in: 9 } } }),
      ),
    says: `layer "${FIRST}": start_in of block 0 must be in 0 … 8, is start_in 12`,
  },
  "a layer that has no tensors": {
    break: () => writeFileSync(at("broken", "config.json"), config({ layers: { ...layers, ghost: layers[FIRST] } })),
    says: 'layer "ghost": config.json lists it as gblr, but it has no tensor',
  },
  "values that the spans do not fill": {
    break: () => changed((content) => content.set(`${FIRST}.values_in`, zeros(3))),
    says: `layer "${FIRST}": values_in must be F32 (`,
  },
  "spans of the wrong shape": {
    break: () =>
      changed((content) => content.set(`${FIRST}.spans`, { dtype: "I32", shape: [2, 8], data: new Int32Array(16) })),
    says: `layer "${FIRST}": spans must be I32 (4, B), is I32 (2, 8)`,
  },
  "missing values": {
    break: () => changed((content) => content.delete(`${FIRST}.values_out`)),
    says: `layer "${FIRST}": values_out F32 (`,
  },
  "a full turn that starts elsewhere": {
    break: () =>
      changed((content) => {
        const { shape, data } = content.get(`${FIRST}.spans`) as StoredTensor;
        const spans = Int32Array.from(data as Int32Array);
        spans.set([5], 0);
        spans.set([16], shape[1] as number);
        content.set(`${FIRST}.spans`, { dtype: "I32", shape, data: spans });
      }),
    says: `layer "${FIRST}": block 0 covers the whole side and must start at 0, is start_in 5, length_in 16`,
  },
  "a layer in two forms": {
    break: () => changed((content) => content.set(`${FIRST}.left`, zeros(48, 2)).set(`${FIRST}.right`, zeros(2, 16))),
    says: `layer "${FIRST}": has two forms`,
  },
  "a factor without the other": {
    break: () => changed((content) => content.set("ghost.left", zeros(48, 2))),
    says: 'layer "ghost": must have both left and right',
  },
  "a bias of the wrong length": {
    break: () => changed((content) => content.set(`${FIRST}.bias`, zeros(7))),
    says: `layer "${FIRST}": bias must be (48), is F32 (7)`,
  },
};

async function changed(change: (content: Map<string, StoredTensor>) => void): Promise<void> {
  const content = await readSafetensors(at("packed", "model.safetensors"));
  change(content);
  await writeSafetensors(at("broken", "model.safetensors"), sourcesOf(content));
}

function expectOneLine({ code, stdout, stderr }: ReturnType<typeof run>, says: string, exit = 1): void {
  expect({ code, stdout }).toEqual({ code: exit, stdout: "" });
  expect(stderr).toStartWith("gblr: ");
  expect(stderr).toContain(says);
  expect(stderr.trim().split("\n")).toHaveLength(1);
}

test.each(Object.keys(BROKEN))("%s is told in one line", async (name) => {
  rmSync(at("broken"), { recursive: true, force: true });
  cpSync(at("packed"), at("broken"), { recursive: true });
  const { break: breakIt, says } = BROKEN[name] as (typeof BROKEN)[string];
  await breakIt();
  expectOneLine(run(at("broken")), says);
});

test("widths that are no numbers are told in one line", async () => {
  const broken = zeros(2, 16);
  broken.data[3] = Number.NaN;
  await writeSafetensors(at("nan.safetensors"), sourcesOf(new Map(tensors).set(`${FIRST}.widths`, broken)));
  expectOneLine(run(at("nan.safetensors")), `layer "${FIRST}": widths has a value that is not finite`);
});

test("trainable tensors that do not fit each other, or config.json, are told in one line", async () => {
  const content = new Map(tensors).set(`${FIRST}.widths`, { dtype: "F32", shape: [2, 3], data: new Float32Array(6) });
  await writeSafetensors(at("unfit.safetensors"), sourcesOf(content));
  expectOneLine(run(at("unfit.safetensors")), `layer "${FIRST}": widths must be (2, 16), is F32 (2, 3)`);
  cpSync(at("trainable"), at("disagrees"), { recursive: true });
  writeFileSync(at("disagrees", "config.json"), config({ layers: { [FIRST]: { ...layers[FIRST], n_in: 17 } } }));
  expectOneLine(run(at("disagrees")), "n_in × n_out = 16 × 48, config.json says 17 × 48");
});

test.each([
  [["./tiny"], 'there is no folder "./tiny"; give a model folder or a name such as owner/name', 1],
  [["no/model.safetensors"], 'there is no file "no/model.safetensors"', 1],
  [["zoo:gpt3"], "zoo:gpt3: is not in the zoo; available: zoo:gpt2-gaudi", 1],
  [[GBLR], "is not a safetensors file", 1],
  [[REFERENCE, "--layer", "nothing"], 'has "nothing" in its name; layers: model.lm_head, ', 1],
  [[REFERENCE, "--layer", "lm_head", "--plot", "head.png"], "only GBLR layers have a block layout", 1],
  [[REFERENCE, "--plot", "nowhere/layout.png"], 'there is no folder "nowhere"', 1],
  [[REFERENCE, "--plot", "layout.jpg"], '"layout.jpg" is neither', 2],
  [[REFERENCE, "--colour"], "--colour", 2],
  [[], "model", 2],
] as [string[], string, number][])("gblr inspect %p fails with one line", (args, says, exit) => {
  expectOneLine(run(...args), says, exit);
  expect(existsSync(at("head.png")) || existsSync(at("layout.jpg"))).toBe(false);
});
