// Folders that Python's `load` must refuse in one line, whatever a field or a name in them is: values of config.json that
// no model can be built of, sizes that would take all memory, names that break lines or steer terminals.

import { expect, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { writeSafetensors } from "../../hub/safetensors/index.ts";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { sourcesOf } from "../../hub/safetensors/write.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "./python.ts";

const VALID = path.join(import.meta.dir, "../fixtures/model-folders/v1/gpt2-packed");
const at = temporaryFolder();
const python = pythonWith("torch");

type Fields = Record<string, unknown> & { gblr: { layers: Record<string, unknown> } };

function changed(name: string, change: (fields: Fields) => void = () => undefined): string {
  cpSync(VALID, at(name), { recursive: true });
  const fields = JSON.parse(readFileSync(path.join(VALID, "config.json"), "utf8")) as Fields;
  change(fields);
  writeFileSync(at(name, "config.json"), JSON.stringify(fields));
  return at(name);
}

const FIELDS: [string, unknown, string][] = [
  ["n_layer", "abc", "no model can be built of it: TypeError"],
  ["n_layer", null, "no model can be built of it: TypeError"],
  ["n_layer", 1.5, "no model can be built of it: TypeError"],
  ["n_head", 0, "no model can be built of it: ZeroDivisionError"],
  ["vocab_size", -1, "no model can be built of it: RuntimeError"],
  ["vocab_size", 1e9, '"vocab_size" is 1000000000, but the longest side of a tensor is 156'],
  ["n_positions", 1e12, '"n_positions" is 1000000000000, but the longest side of a tensor is 156'],
  ["model_type", "gblr_a\nb\u2028c\x1b[31m", 'model_type is "a\\nb\\u2028c\\x1b[31m"'],
];

test.skipIf(!python)(
  "what no model can be built of is refused in one line, and so is what has names of several lines",
  async () => {
    const folders = FIELDS.map(([field, value], i) => {
      return changed(`field ${i}`, (fields) => {
        fields[field] = value;
      });
    });
    folders.push(
      changed("layer", ({ gblr }) => {
        gblr.layers["a\n\rb\u2028"] = { n_in: 2, n_out: 2, blocks: 1 };
      }),
    );
    const tensors = await readSafetensors(path.join(VALID, "model.safetensors"));
    tensors.set("a\n\x1b[31mb", { dtype: "F32", shape: [1], data: Float32Array.of(1) });
    folders.push(changed("tensor"));
    await writeSafetensors(at("tensor", "model.safetensors"), sourcesOf(tensors));
    const cases = folders.map((folder) => ({ folder, size: null, form: "auto" }));
    const input = JSON.stringify({ ids: [1, 2], images: {}, cases });
    const answers = await askPython<{ refusal?: string }[]>(python, "folder_logits.py", { args: [SOURCES], input });
    const reasons = [
      ...FIELDS.map(([, , why]) => why),
      'layer "a\\n\\rb\\u2028": config.json lists it as gblr, but it has no tensor',
      'tensor "a\\n\\x1b[31mb": the model of config.json has no such parameter',
    ];
    for (const [i, reason] of reasons.entries()) {
      const refusal = answers[i]?.refusal;
      expect(refusal).toStartWith(folders[i] as string);
      expect(refusal).toContain(reason);
      expect(refusal).toMatch(/^\P{C}+$/u);
    }
  },
  PATIENCE,
);
