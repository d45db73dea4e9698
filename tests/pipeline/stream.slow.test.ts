// `--stream` from the command line: the training text comes from the Hub by range requests, and is not downloaded.

import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeStories } from "../../recipes/quickstart/repositories.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { parquetFile } from "../data/write-parquet.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timelessMetrics } from "../train/runs.ts";
import { GBLR, makeTinyHub, QUICK, RECIPE, run, start } from "./tiny-hub.ts";

setDefaultTimeout(240_000);

const at = temporaryFolder();
const place = () => ({ hub: at("hub"), work: at("work") });

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  const hub = await makeTinyHub(at("hub"));
  mkdirSync(at("work"), { recursive: true });
  const folder = join(hub, "datasets/tiny/shards/data");
  mkdirSync(folder, { recursive: true });
  const rows = (seed: number, lines: number) => ({ text: makeStories({ lines, seed }).split("\n").filter(Boolean) });
  const write = (name: string, groups: { text: string[] }[]) =>
    writeFileSync(join(folder, `${name}.parquet`), parquetFile(groups, "gzip"));
  const only = join(hub, "datasets/tiny/only");
  mkdirSync(join(only, "data"), { recursive: true });
  writeFileSync(join(only, "README.md"), "---\nlicense: cc0-1.0\n---\nStories.\n");
  writeFileSync(join(only, "data/train-00000.parquet"), parquetFile([rows(1, 40), rows(2, 40), rows(3, 40)], "gzip"));
  write("train-00000-of-00002", [rows(1, 40), rows(2, 40)]);
  write("train-00001-of-00002", [rows(3, 40)]);
  write("validation-00000-of-00001", [rows(4, 10)]);
  write("test-00000-of-00001", [rows(5, 12)]);
});

const STREAM = ["--dataset", "tiny/shards", "--stream", "--shuffle-windows", "8"];
/** Without the data set of `QUICK`. */
const FLAGS = QUICK.filter((flag, i) => flag !== "--dataset" && QUICK[i - 1] !== "--dataset");

/** Names of all files in the Hugging Face cache. */
const cached = () =>
  readdirSync(at("work/huggingface"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith("parquet"));

const lossesIn = (folder: string): number[] =>
  readFileSync(join(folder, "metrics.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line.includes('"step"') && line.includes('"loss"'))
    .map((line) => JSON.parse(line).loss);

describe("a training with --stream", () => {
  test("reads the text from the Hub and downloads the other splits only, and a recipe calibrates on it", async () => {
    const flags = [...FLAGS, ...STREAM, "--init", "activation", "--budget", "0.6", "--run", "recipe"];
    flags.push("--sample-prompt", "One day", "--sample-tokens", "3");
    const { code, stderr, stdout } = await run(RECIPE, flags, place());
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    expect(stderr + stdout).toMatch(/train: streams 2 files of [\d.]+ kB, divided among the 2 micro-batches of a step/);
    expect(
      cached()
        .map((name) => name.replace(/.*\//, ""))
        .sort(),
    ).toEqual(["test-00000-of-00001.parquet", "validation-00000-of-00001.parquet"]);
    const losses = lossesIn(join(at("work"), "recipe"));
    expect(losses.length).toBe(6);
    expect(losses.every(Number.isFinite)).toBe(true);
    const samples = (await timelessMetrics(join(at("work"), "recipe"))).filter(({ kind }) => kind === "sample");
    expect(samples.length).toBeGreaterThan(2);
    for (const { prompt, text } of samples) {
      expect(prompt).toBe("One day");
      expect((text as string).trim().length).toBeGreaterThan(2);
    }
    expect(stderr + stdout).toMatch(/step 6 {2}"One day" → ".+"/);
  });

  test("that is killed and started again ends as one left alone, bit by bit", async () => {
    const size = ["--context", "32", "--batch", "4", "--micro-batch", "2", "--limit", "8", "--steps", "24"];
    const times = ["--warmup-epochs", "0", "--evaluate-every", "0.2", "--checkpoint-every", "0.05"];
    const flags = ["finetune", "tiny/gpt2", ...STREAM, ...size, ...times, "--engine", "wasm"];
    expect((await run(GBLR, [...flags, "--run", "alone"], place())).code).toBe(0);
    const child = start(GBLR, [...flags, "--run", "killed"], place());
    const folder = join(at("work"), "killed/checkpoint");
    for (let names: string[] = []; !names.some((name) => /step-0000000(00[2-9]|01\d)\.json$/.test(name)); ) {
      expect(child.exitCode).toBe(null);
      await Bun.sleep(5);
      names = await Promise.resolve(folder)
        .then((found) => readdirSync(found))
        .catch(() => []);
    }
    child.kill("SIGKILL");
    await child.exited;
    const { code, stderr } = await run(GBLR, [...flags, "--run", "killed"], place());
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    expect(lossesIn(join(at("work"), "killed"))).toEqual(lossesIn(join(at("work"), "alone")));
    expect(await timelessMetrics(join(at("work"), "killed"))).toEqual(await timelessMetrics(join(at("work"), "alone")));
  });

  test("of a data set that has no other split evaluates on what it holds out, and downloads nothing", async () => {
    const splits = ["--dataset", "tiny/only", "--validation-split", "train", "--test-split", "train", "--limit", "6"];
    const size = ["--context", "32", "--batch", "4", "--micro-batch", "2", "--steps", "4", "--warmup-epochs", "0"];
    const flags = ["finetune", "tiny/gpt2", "--stream", ...splits, ...size, "--engine", "wasm", "--run", "only"];
    const { code, stderr } = await run(GBLR, flags, place());
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    expect(cached().filter((name) => name.includes("only"))).toEqual([]);
    const rows = JSON.parse(readFileSync(join(at("work"), "only/comparison.json"), "utf8"));
    for (const { metrics } of rows) expect(metrics.perplexity).toBeGreaterThan(1);
    const { code: without, stderr: asked } = await run(
      GBLR,
      [...flags.filter((_, i) => !/^(--limit|6)$/.test(flags[i] as string))],
      place(),
    );
    expect(without).not.toBe(0);
    expect(asked).toMatch(/--limit is needed to evaluate on train, of which so many windows are held out/);
  });

  test.each([
    [["--stream"], /--stream needs --steps/],
    [["--stream", "--steps", "3", "--train-limit", "9"], /--train-limit and --stream exclude each other/],
    [["--stream", "--steps", "3", "--batch", "64", "--micro-batch", "1"], /3 row groups of the split are fewer than/],
    [["--stream", "--steps", "3", "--dataset", "tiny/stories"], /train\.txt.* cannot be streamed: only parquet files/],
    [["--stream", "--steps", "3", "--offline"], /not in the cache .* and --offline or HF_HUB_OFFLINE is set/],
    [["--stream", "--steps", "3", "--train-split", "more"], /no split "more"|lacks|"more"/],
  ])("is refused in one line with %p", async (flags, message) => {
    const usual = ["--dataset", "tiny/shards", "--engine", "wasm", "--context", "32", "--run", "refused"];
    const { code, stderr } = await run(GBLR, ["finetune", "tiny/gpt2", ...usual, ...flags], place());
    expect(code).not.toBe(0);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(message);
  });
});
