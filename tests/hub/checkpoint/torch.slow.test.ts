// PyTorch itself, where it is installed, in both directions: what torch.save writes is what we read, and what we import is
// what Python finds in the safetensors file. Random tensors of every type, views, every protocol, both forms.

import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { importCheckpoint, openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { readAll } from "../../../hub/safetensors/read.ts";
import { PATIENCE, pythonWith, runPython } from "../../python/python.ts";
import { temporaryFolder } from "../temporary.ts";

const SCRIPT = path.join(import.meta.dir, "reference.py");
const python = pythonWith("torch");
const at = temporaryFolder();

async function run(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runPython(python, SCRIPT, { args, env: { PYTHONWARNINGS: "ignore" } });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

interface Truth {
  [file: string]: { [name: string]: { dtype: string; shape: number[]; sha256: string } };
}

test.skipIf(!python)(
  "what torch.save writes is what we read, and what we import is what Python reads",
  async () => {
    await run("make", at(), "20");
    const truth = JSON.parse(readFileSync(at("truth.json"), "utf8")) as Truth;
    expect(Object.keys(truth).length).toBe(24);
    for (const [file, expected] of Object.entries(truth)) {
      const checkpoint = await openCheckpoint(at(file));
      expect(checkpoint.rest).toMatchObject({
        optimizer: { param_groups: [{ betas: [0.9, 0.999], weight_decay: 0.01 }] },
        rest: {
          text: "σ ünï",
          big: String(2n ** 80n),
          none: null,
          tuple: [1, [2.5, true]],
          bytes: "<2 bytes>",
          set: [3],
        },
        size: [1, 2],
      });
      const found = Array.from(await readAll(checkpoint), ([name, { dtype, shape, data }]) => {
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        return [name, { dtype, shape, sha256: createHash("sha256").update(bytes).digest("hex") }] as const;
      });
      expect({ file, ...Object.fromEntries(found) }).toEqual({ file, ...expected });
    }
    for (const file of Object.keys(truth).slice(0, 3)) {
      for await (const _ of importCheckpoint(at(file), { out: at("out") }));
      expect(await run("check", at("out", "model.safetensors"), at(file))).toEndWith("tensors agree\n");
    }
  },
  PATIENCE,
);
