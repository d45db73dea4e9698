// Model folders of every version that has been, kept as they were written: they load for ever, and compute what PyTorch
// computed from them when they were made. Versions that are not known are refused by name.

import { describe, expect, test } from "bun:test";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { checkModelFolder } from "../../hub/model-folder/index.ts";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { type Gpt2Config, type Model, saveModelNow } from "../../workbench/models/index.ts";
import { logitsOf } from "../architectures/small-vision.ts";
import { forEachEngine } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "../python/python.ts";
import { IDS, pixels } from "./old-folders/inputs.ts";
import { taken } from "./tiny.ts";

const ROOT = path.join(import.meta.dir, "../fixtures/model-folders");
const at = temporaryFolder();
const torch = pythonWith("torch");

interface Old {
  name: string;
  folder: string;
  /** of images; null: a language model */
  size: number | null;
  form: "auto" | "trainable";
  logits: number[];
}

const versions = readdirSync(ROOT).filter((name) => /^v\d+$/.test(name));

const OLD: Old[] = versions.flatMap((version) =>
  readdirSync(path.join(ROOT, version)).flatMap((name) => {
    const folder = path.join(ROOT, version, name);
    const expected = JSON.parse(readFileSync(path.join(folder, "expected.json"), "utf8"));
    return Object.entries(expected.logits as Record<Old["form"], number[]>).map(([form, logits]) => {
      return { name: `${version}/${name}, ${form}`, folder, size: expected.size ?? null, form, logits } as Old;
    });
  }),
);

async function logitsIn(model: Model, size: number | null): Promise<Float32Array> {
  model.masks.mode = "eval";
  const ids = tf.tensor2d([IDS], undefined, "int32");
  const images = size === null ? undefined : tf.tensor4d(pixels(size), [1, size, size, 3]);
  try {
    return images
      ? await logitsOf(model, images)
      : await taken(tf.tidy(() => languageLogits(model as Model<Gpt2Config>, ids)));
  } finally {
    tf.dispose([ids, images ?? []]);
  }
}

const furthest = (a: ArrayLike<number>, b: readonly number[]): number =>
  a.length === b.length ? Math.max(...b.map((value, i) => Math.abs(value - (a[i] as number)))) : Number.NaN;

test("there are folders of versions 1 to 3, the first ones in both forms", () => {
  expect(versions).toEqual(expect.arrayContaining(["v1", "v2", "v3"]));
  expect(OLD.length).toBeGreaterThanOrEqual(15);
});

forEachEngine("an old folder", () => {
  test.each(OLD.map((old) => [old.name, old] as const))(
    "%s computes what it did",
    async (name, { folder, size, form, logits }) => {
      const model = await loadModelNow(folder, { form });
      expect(furthest(await logitsIn(model, size), logits)).toBeLessThan(1e-4);
      const again = at(`${name} ${tf.getBackend()}`.replaceAll(/\W+/g, "-"));
      await saveModelNow(model, again, { trainable: form === "trainable" });
      model.dispose();
      await checkModelFolder(again);
      const saved = await loadModelNow(again, { form });
      expect(furthest(await logitsIn(saved, size), logits)).toBeLessThan(1e-4);
      saved.dispose();
    },
  );
});

test.skipIf(!torch)(
  "old folders compute in Python what they did",
  async () => {
    const images = Object.fromEntries(OLD.flatMap(({ size }) => (size === null ? [] : [[size, pixels(size)]])));
    const cases = OLD.map(({ folder, size, form }) => ({ folder, size, form }));
    const input = JSON.stringify({ ids: IDS, images, cases });
    const answers = await askPython<{ logits?: number[] }[]>(torch, "folder_logits.py", { args: [SOURCES], input });
    const apart = answers.map(({ logits = [] }, i) => furthest(logits, (OLD[i] as Old).logits));
    expect(apart.filter((each) => !(each < 1e-4))).toEqual([]);
  },
  PATIENCE,
);

describe("a folder of another version", () => {
  const folderOf = (format: unknown): string => {
    const folder = at(`format-${String(JSON.stringify(format))}`.replaceAll(/\W+/g, "-"));
    cpSync(path.join(ROOT, "v1/gpt2-packed"), folder, { recursive: true });
    const file = path.join(folder, "config.json");
    const config = JSON.parse(readFileSync(file, "utf8"));
    config.gblr.format = format;
    writeFileSync(file, JSON.stringify(config));
    return folder;
  };
  const CASES: [unknown, string][] = [
    [4, 'config.json: "gblr.format" must be 1, 2 or 3, is 4; a newer version of gblr wrote it'],
    [0, 'config.json: "gblr.format" must be 1, 2 or 3, is 0'],
    ["1", 'config.json: "gblr.format" must be 1, 2 or 3, is'],
    [undefined, 'config.json: "gblr.format" must be 1, 2 or 3, is'],
  ];

  test.each(CASES)("%p is refused by its name", async (format, line) => {
    const folder = folderOf(format);
    for (const read of [loadModelNow, checkModelFolder]) {
      const error = (await read(folder).catch((error: Error) => error)) as Error;
      expect(error.message).toStartWith(folder);
      expect(error.message).toContain(line);
      expect(error.message).not.toContain("\n");
    }
  });

  test.skipIf(!torch)(
    "is refused by its name in Python",
    async () => {
      const cases = CASES.map(([format]) => ({ folder: folderOf(format), size: null, form: "auto" }));
      const input = JSON.stringify({ ids: IDS, images: {}, cases });
      const answers = await askPython<{ refusal?: string }[]>(torch, "folder_logits.py", { args: [SOURCES], input });
      for (const [i, [, line]] of CASES.entries()) expect(answers[i]?.refusal).toContain(line);
    },
    PATIENCE,
  );
});
