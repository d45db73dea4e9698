// A GGUF file given as a model: imported once into the cache, again when it changes, and never half.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fetchKind, fetchModel } from "../../workbench/pipeline/fetch.ts";
import { type PipelineEvent, resultOf } from "../../workbench/pipeline/stage.ts";
import { gguf, smallLlama, u32, writeGguf } from "../hub/gguf/build.ts";
import { temporaryFolder } from "../hub/temporary.ts";

setDefaultTimeout(60_000);

const at = temporaryFolder();
const access = { endpoint: "http://127.0.0.1:1", cache: at("hub"), offline: true };

async function fetched(file: string, cache: string, signal = new AbortController().signal) {
  const events: PipelineEvent[] = [];
  const { folder } = await resultOf(fetchModel(file, { access, cache, signal }), (event) => events.push(event));
  return { folder, events };
}

test("a GGUF file is imported into the cache, and only once", async () => {
  const file = writeGguf(at("small.gguf"), smallLlama());
  const first = await fetched(file, at("once"));
  expect(first.events.length).toBeGreaterThan(0);
  expect(readdirSync(first.folder)).toEqual(expect.arrayContaining(["config.json", "model.safetensors"]));
  expect(JSON.parse(readFileSync(join(first.folder, "config.json"), "utf8")).model_type).toBe("llama");
  const second = await fetched(file, at("once"));
  expect(second).toEqual({ folder: first.folder, events: [] });
});

test("a file that has changed is imported again", async () => {
  const file = writeGguf(at("changing.gguf"), smallLlama());
  const first = await fetched(file, at("changed"));
  utimesSync(file, 1, 1);
  expect((await fetched(file, at("changed"))).folder).not.toBe(first.folder);
});

test("a model in several files is imported again if any of them has changed", async () => {
  const { metadata, tensors } = smallLlama();
  const parts = [tensors.slice(0, 5), tensors.slice(5)].map((part, i) => {
    const split = [["split.count", u32(2)] as const, ["split.no", u32(i)] as const];
    const entries = i === 0 ? [...metadata, ...split] : split;
    return writeGguf(at(`parts-0000${i + 1}-of-00002.gguf`), { metadata: entries, tensors: part });
  }) as [string, string];
  const first = await fetched(parts[0], at("parts"));
  expect((await fetched(parts[0], at("parts"))).folder).toBe(first.folder);
  utimesSync(parts[1], 1, 1);
  expect((await fetched(parts[0], at("parts"))).folder).not.toBe(first.folder);
});

test("processes that import the same file at the same time get the same folder", async () => {
  const file = writeGguf(at("shared.gguf"), smallLlama());
  const code = `
    import { fetchModel } from ${JSON.stringify(join(import.meta.dir, "../../workbench/pipeline/fetch.ts"))};
    import { resultOf } from ${JSON.stringify(join(import.meta.dir, "../../workbench/pipeline/stage.ts"))};
    const access = ${JSON.stringify(access)};
    const options = { access, cache: ${JSON.stringify(at("together"))}, signal: new AbortController().signal };
    console.log((await resultOf(fetchModel(${JSON.stringify(file)}, options))).folder);`;
  writeFileSync(at("child.ts"), code);
  const children = Array.from({ length: 3 }, () =>
    Bun.spawn([process.execPath, at("child.ts")], { stdout: "pipe", stderr: "pipe" }),
  );
  const outputs = await Promise.all(
    children.map(async (child) => [await child.exited, await new Response(child.stdout).text()] as const),
  );
  expect(outputs.map(([status]) => status)).toEqual([0, 0, 0]);
  expect(new Set(outputs.map(([, text]) => text.trim())).size).toBe(1);
  expect(readdirSync(at("together", "models"))).toHaveLength(1);
});

test("a cache that cannot be written is reported in one line, with the setting that moves it", async () => {
  const file = writeGguf(at("unwritten.gguf"), smallLlama());
  writeFileSync(at("taken"), "a file");
  await expect(fetched(file, at("taken"))).rejects.toThrow(
    /^[^\n]*models: cannot be made: [^\n]+; set GBLR_CACHE to [^\n]+$/,
  );
});

describe("nothing is left in the cache", () => {
  test("by a damaged file, which is refused in one line", async () => {
    writeFileSync(at("short.gguf"), gguf(smallLlama()).subarray(0, 400));
    await expect(fetched(at("short.gguf"), at("damaged"))).rejects.toThrow(/^[^\n]*short\.gguf: [^\n]+$/);
    expect(readdirSync(at("damaged", "models"))).toEqual([]);
  });

  test("by an import that was killed more than a day ago, while one that may run is kept", async () => {
    const file = writeGguf(at("killed.gguf"), smallLlama());
    const [old, young] = ["1", "2"].map((pid) => at("killed", "models", `${"0".repeat(32)}.${pid}`)) as [
      string,
      string,
    ];
    for (const draft of [old, young]) {
      mkdirSync(draft, { recursive: true });
      writeFileSync(join(draft, "model.safetensors"), "half");
    }
    const before = Date.now() / 1000 - 25 * 60 * 60;
    utimesSync(old, before, before);
    const { folder } = await fetched(file, at("killed"));
    expect(readdirSync(at("killed", "models")).sort()).toEqual([basename(young), basename(folder)].sort());
  });

  test("by an import that was stopped", async () => {
    const file = writeGguf(at("stopped.gguf"), smallLlama());
    await expect(fetched(file, at("stopped"), AbortSignal.abort(new Error("stopped")))).rejects.toThrow("stopped");
    expect(readdirSync(at("stopped", "models"))).toEqual([]);
  });
});

test("a path without a file is refused with what to give", async () => {
  await expect(fetched(at("none.gguf"), at("none"))).rejects.toThrow(/none\.gguf: is not a file; give the path/);
});

test("the kind of a GGUF file is that of the model that is imported", async () => {
  const file = writeGguf(at("known.gguf"), smallLlama());
  const context = { access, cache: at("known"), signal: new AbortController().signal };
  const { architecture, positions } = await resultOf(fetchKind(file, context));
  expect(architecture.type).toBe("llama");
  const config = JSON.parse(readFileSync(join((await fetched(file, at("known"))).folder, "config.json"), "utf8"));
  expect(positions).toBe(config.max_position_embeddings);
});
