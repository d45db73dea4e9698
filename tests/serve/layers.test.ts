// /layers and /layers/blocks: what a server tells of the layers of its models, compared with the tensors of the folder.

import { afterAll, beforeAll, expect, test } from "bun:test";
import path from "node:path";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { writeChatModel } from "../cli/chat-model.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { type Serving, serveFolders } from "./serving.ts";

const at = temporaryFolder();
const BLOCKS = ["h.0.attn.c_attn", "h.1.mlp.c_fc"];
let served: Serving;

beforeAll(async () => {
  await openEngine(ENGINES[0]?.options);
  await writeChatModel(at("dense"));
  await writeChatModel(at("gblr"), { blocks: BLOCKS });
  served = await serveFolders({ dense: at("dense"), "owner/gblr & more": at("gblr") });
}, 120_000);
afterAll(() => served?.end());

interface Layer {
  name: string;
  structure: string;
  n_in: number;
  n_out: number;
  cost: number;
  share: number;
  live_blocks: number | null;
}

async function read<Answer>(route: string, query: Record<string, string>): Promise<Answer> {
  return (await (await fetch(`${served.url}${route}?${new URLSearchParams(query)}`)).json()) as Answer;
}

test("layers are told in the order of the model, with costs and numbers of blocks", async () => {
  const answer = await read<{ model: string; share: number; palette: string[]; layers: Layer[] }>("/layers", {
    model: "owner/gblr & more",
  });
  expect(answer.model).toBe("owner/gblr & more");
  const { layers, palette, share } = answer;
  expect(layers.filter(({ live_blocks: live }) => live !== null).map(({ name }) => name)).toEqual(BLOCKS);
  expect(layers.length).toBeGreaterThan(BLOCKS.length);
  const sum = (value: (layer: Layer) => number) => layers.reduce((total, layer) => total + value(layer), 0);
  expect(share).toBeCloseTo(sum(({ cost }) => cost) / sum(({ n_in, n_out }) => n_in * n_out), 12);
  expect(palette).toHaveLength(256);
  expect(palette.every((color) => /^#[0-9a-f]{6}$/.test(color))).toBe(true);
});

test("blocks are those of the packed layer in the folder", async () => {
  const tensors = await readSafetensors(path.join(at("gblr"), "model.safetensors"));
  const { layers } = await read<{ layers: Layer[] }>("/layers", { model: "owner/gblr & more" });
  for (const layer of BLOCKS) {
    const blocks = await read<Record<string, number[]>>("/layers/blocks", { model: "owner/gblr & more", layer });
    const { data, shape } = tensors.get(`${layer}.spans`) ?? { data: [], shape: [4, 0] };
    const count = shape[1] as number;
    const row = (i: number) => Array.from(data as Int32Array).slice(i * count, (i + 1) * count);
    expect(count).toBeGreaterThan(2);
    expect(blocks).toMatchObject({
      ...{ start_in: row(0), length_in: row(1), start_out: row(2), length_out: row(3) },
    });
    const cost = row(1).reduce((sum, a, b) => sum + Math.min(a + (row(3)[b] as number), a * (row(3)[b] as number)), 0);
    expect(layers.find(({ name }) => name === layer)).toMatchObject({ cost, live_blocks: count, structure: "gblr" });
  }
});

test("a dense model has layers without blocks, and the first model answers without a name", async () => {
  const { layers, share, model } = await read<{ layers: Layer[]; share: number; model: string }>("/layers", {});
  expect(model).toBe("dense");
  expect(share).toBe(1);
  expect(layers.every(({ live_blocks: live, structure }) => live === null && structure === "dense")).toBe(true);
});

test("what is not there is refused in one line", async () => {
  const refusal = async (route: string, query: Record<string, string>) =>
    (await read<{ error: { message: string } }>(route, query)).error.message;
  expect(await refusal("/layers", { model: "other" })).toBe(
    'there is no model "other"; served: "dense", "owner/gblr & more"',
  );
  expect(await refusal("/layers/blocks", { model: "dense", layer: BLOCKS[0] as string })).toBe(
    'dense has no layer "h.0.attn.c_attn" with blocks; see /layers',
  );
  expect(await refusal("/layers/blocks", {})).toBe("layer: expected string, received undefined");
});
