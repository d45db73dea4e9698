// Every verb as a user runs it on a small model of Llama's family: inspect, convert, calibrate, evaluate, fine-tune while
// widths shrink, generate, export, report and card.

import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { wordsOf, writeTokenizer } from "../../recipes/quickstart/repositories.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { createModel, llama, saveModelNow } from "../../workbench/models/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { livelier } from "../models/tiny.ts";
import { GBLR, makeTinyHub, run } from "../pipeline/tiny-hub.ts";

const PATIENCE = 240_000;
const folder = temporaryFolder();
const hub = folder("hub");
const work = folder("work");
const at = (...names: string[]) => join(work, ...names);
const TEXT = "tiny/stories";

async function gblr(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(GBLR, args, { hub, work });
  if (code !== 0) throw new Error(`gblr ${args.join(" ")}\n${stderr}`);
  return stdout;
}
const answer = async (...args: string[]) => JSON.parse(await gblr(...args, "--json"));
const config = (...names: string[]) => JSON.parse(readFileSync(at(...names, "config.json"), "utf8"));

const perplexityOf = async (model: string): Promise<number> => {
  const { perplexity } = await answer("eval", "ppl", model, "--dataset", TEXT, "--engine", "wasm");
  return perplexity as number;
};

beforeAll(async () => {
  for (const each of [hub, work]) mkdirSync(each);
  await openEngine({ engine: "wasm" });
  await makeTinyHub(hub);
  const stories = readdirSync(join(hub, "datasets", TEXT)).filter((name) => name.endsWith(".txt"));
  const text = stories.map((name) => readFileSync(join(hub, "datasets", TEXT, name), "utf8")).join("");
  const model = join(hub, "models/tiny/llama");
  const vocabulary = await writeTokenizer(model, wordsOf(text));
  const made = livelier(
    createModel(llama, {
      ...{ model_type: "qwen3", tie_word_embeddings: true, attention_dropout: 0.1, eos_token_id: 0 },
      ...{ vocab_size: vocabulary, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2 },
      ...{ num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8, max_position_embeddings: 32 },
    }),
  );
  await saveModelNow(made, model);
  made.dispose();
}, PATIENCE);

test(
  "inspect lists the linear layers of blocks and the embedding apart",
  async () => {
    const { layers, embeddings } = await answer("inspect", join(hub, "models/tiny/llama"));
    expect(layers.length).toBe(2 * 7);
    expect(layers.map(({ name }: { name: string }) => name)).toContain("model.layers.1.mlp.gate_proj");
    expect(embeddings).toEqual(["model.embed_tokens.weight"]);
  },
  PATIENCE,
);

test(
  "convert with calibration, fine-tune while widths shrink, evaluate, generate, export and report",
  async () => {
    const quick = ["--engine", "wasm"];
    const plan = ["--structure", "gblr", "--budget", "0.6", "--allocate", "global", "--init", "activation"];
    const calibrate = ["--calibrate", TEXT, "--calibrate-samples", "8"];
    const conversion = await answer("convert", "tiny/llama", ...plan, ...calibrate, "--out", "gblr", ...quick);
    expect(conversion.layers.length).toBe(2 * 7);
    for (const { outputError } of conversion.layers) expect(outputError).toBeLessThan(1);
    expect(config("gblr")).toMatchObject({ model_type: "qwen3", architectures: ["GblrQwen3ForCausalLM"] });

    const before = await perplexityOf("gblr");
    const training = ["--steps", "24", "--batch", "4", "--micro-batch", "2", "--learning-rate", "1e-2"];
    const shrink = ["--shrink", "budget", "--target", "0.4"];
    const lengths = ["--limit", "8", "--warmup-steps", "2"];
    await gblr("finetune", "gblr", "--dataset", TEXT, ...training, ...shrink, ...lengths, "--run", "run", ...quick);
    expect(await perplexityOf("run/model")).toBeLessThan(before);
    // Windows have as many tokens as the model has positions.
    expect(JSON.parse(readFileSync(at("run/run.json"), "utf8")).settings.context).toBe(32);
    const part = config("run", "model").gblr;
    expect(part.relative_flops.reference).toBeLessThan(conversion.counts.reference.relative);

    const picture = ["--layer", "1.mlp.down", "--plot", "blocks.png"];
    const { layers } = await answer("inspect", "run/model", ...picture);
    expect(layers.map(({ structure }: { structure: string }) => structure)).toEqual(["gblr"]);
    expect(existsSync(at("blocks.png"))).toBe(true);

    const made = await answer("generate", "run/model", "the", "--tokens", "8", "--temperature", "0", ...quick);
    expect(made.ids.length).toBeGreaterThan(0);

    await gblr("export", "run/model", "--to", "dense", "--out", "dense", ...quick);
    const { gblr: none, ...dense } = config("dense");
    expect(none).toBeUndefined();
    expect(dense).toMatchObject({ model_type: "qwen3", architectures: ["Qwen3ForCausalLM"] });
    expect(await perplexityOf("dense")).toBeCloseTo(await perplexityOf("run/model"), 2);

    await gblr("report", "run");
    expect(readFileSync(at("run/report.html"), "utf8")).toContain("layers.1.mlp.down_proj");
    expect(readFileSync(at("run/model/README.md"), "utf8")).toContain("AutoModelForCausalLM");
  },
  PATIENCE,
);

test(
  "other structures, a dry run and half precision",
  async () => {
    for (const structure of ["lowrank", "monarch", "block-low-rank", "block-sparse"]) {
      const args = ["--structure", structure, "--flops", "0.7", "--out", structure, "--engine", "wasm"];
      const { counts } = await answer("convert", "tiny/llama", ...args);
      expect(counts.reference.relative).toBeLessThanOrEqual(0.7);
      expect(await perplexityOf(structure)).toBeGreaterThan(1);
    }
    const dry = await gblr("convert", "tiny/llama", "--structure", "gblr", "--budget", "0.5", "--dry-run");
    expect(dry).toMatch(/layers\.1\.self_attn\.k_proj +gblr +32 × 16/);
    await gblr("export", "lowrank", "--to", "dense", "--dtype", "bfloat16", "--out", "half", "--engine", "wasm");
    expect(config("half").torch_dtype).toBe("bfloat16");
    expect((await perplexityOf("half")) / (await perplexityOf("lowrank"))).toBeCloseTo(1, 1);
  },
  PATIENCE,
);
