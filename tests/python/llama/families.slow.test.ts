// Dense models of Llama's families that transformers wrote, with every field of config.json that changes the result, read
// with torch alone: logits and gradients must be those of transformers.

import { beforeAll, expect, test } from "bun:test";
import path from "node:path";
import { FAMILY_CASES, SIZES } from "../../architectures/llama/families.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "../python.ts";

const python = pythonWith("torch", "transformers", "safetensors");
const at = temporaryFolder();
const WINDOWS = [0, 1].map((row) => Array.from({ length: 13 }, (_, i) => (7 * i + 11 * row + 3) % SIZES.vocab_size));

interface Compared {
  logits: number;
  gradients: number;
  same_settings: boolean;
}

let found: Record<string, Compared> = {};

beforeAll(async () => {
  if (!python) return;
  const models = Object.fromEntries(
    Object.entries(FAMILY_CASES).map(([name, { config, ...others }]) => [
      name,
      { config: { ...SIZES, ...config }, ...others },
    ]),
  );
  const reference = path.join(import.meta.dir, "../../architectures/llama/reference.py");
  const env = { HF_HUB_OFFLINE: "1" };
  await askPython(python, reference, { input: JSON.stringify({ out: at(), windows: WINDOWS, models }), env });
  const folders = Object.fromEntries(Object.keys(models).map((name) => [name, at(name)]));
  const input = JSON.stringify({ windows: WINDOWS, folders });
  found = await askPython(python, "llama/dense_families.py", { args: [SOURCES], input });
}, PATIENCE);

for (const name of Object.keys(FAMILY_CASES)) {
  test.skipIf(!python)(`torch alone computes as transformers, under old and new names of fields: ${name}`, () => {
    expect(found[name]?.logits).toBeLessThan(1e-5);
    expect(found[name]?.gradients).toBeLessThan(3e-5);
    expect(found[name]?.same_settings).toBe(true);
  });
}
