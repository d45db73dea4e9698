// What the import makes of a file's metadata, on small files that the tests write byte by byte: names and order of rows,
// config.json, tokenizer.json and generation_config.json.

import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { type GgufModel, openGguf, planModel, tensorSources } from "../../../hub/gguf/index.ts";
import { openTokenizer } from "../../../workbench/data/index.ts";
import { temporaryFolder } from "../temporary.ts";
import {
  f32,
  flag,
  floats,
  gguf,
  ints,
  type Spec,
  smallLlama,
  str,
  strings,
  u32,
  type Value,
  withMetadata,
} from "./build.ts";

const at = temporaryFolder();

interface Imported extends GgufModel {
  /** the values of each tensor, by the name in the folder */
  values: Map<string, Float32Array>;
}

async function imported(spec: Spec): Promise<Imported> {
  writeFileSync(at("x.gguf"), gguf(spec));
  const opened = await openGguf(at("x.gguf"));
  try {
    const model = await planModel(opened);
    const values = new Map<string, Float32Array>();
    for (const { name, data } of tensorSources(opened, model.tensors, undefined)) {
      const pieces: Uint8Array[] = [];
      if (typeof data === "function") for await (const piece of data()) pieces.push(piece);
      values.set(name, new Float32Array(new Uint8Array(Buffer.concat(pieces)).buffer));
    }
    return { ...model, values };
  } finally {
    await opened.close();
  }
}

const changed = (changes: Record<string, Value | undefined>) => imported(withMetadata(smallLlama(), changes));
const json = ({ texts }: GgufModel, name: string) => JSON.parse(texts.get(name) as string);

function vector(name: string, values: readonly number[]) {
  return { name, dims: [values.length], data: new Uint8Array(Float32Array.from(values).buffer) };
}

describe("a llama", () => {
  test("has the rows of queries and keys with the first halves of heads first, and all others as stored", async () => {
    const spec = smallLlama();
    const stored = new Map(spec.tensors.map(({ name, data }) => [name, new Float32Array((data as Uint8Array).buffer)]));
    const { values } = await imported(spec);
    // 4 heads of 8 rows: row i of the first half of a head was row 2i, row i of the second half was row 2i + 1.
    const order = Array.from({ length: 32 }, (_, row) => {
      const [head, within] = [row >> 3, row & 7];
      return 8 * head + (within < 4 ? 2 * within : 2 * (within - 4) + 1);
    });
    const row = (tensor: Float32Array | undefined, i: number) => [
      ...(tensor as Float32Array).subarray(32 * i, 32 * i + 32),
    ];
    const queries = values.get("model.layers.0.self_attn.q_proj.weight");
    for (const [i, from] of order.entries())
      expect(row(queries, i)).toEqual(row(stored.get("blk.0.attn_q.weight"), from));
    const keys = values.get("model.layers.0.self_attn.k_proj.weight");
    for (let i = 0; i < 16; i++)
      expect(row(keys, i)).toEqual(row(stored.get("blk.0.attn_k.weight"), order[i] as number));
    expect(values.get("model.layers.0.mlp.down_proj.weight")).toEqual(stored.get("blk.0.ffn_down.weight"));
    expect(values.size).toBe(11);
  });

  test("has a head of its own if the file has one, and biases if the file has them", async () => {
    const spec = smallLlama();
    const head = { name: "output.weight", dims: [32, 32] };
    const biases = [
      ["attn_q", 32],
      ["attn_k", 16],
      ["attn_v", 16],
      ["attn_output", 32],
    ] as const;
    const counted = (size: number) => Array.from({ length: size }, (_, i) => i);
    const more = biases.map(([name, size]) => vector(`blk.0.${name}.bias`, counted(size)));
    const { config, values } = await imported({ ...spec, tensors: [...spec.tensors, head, ...more] });
    expect(config).toMatchObject({ tie_word_embeddings: false, attention_bias: true, mlp_bias: false });
    expect(values.get("lm_head.weight")?.length).toBe(1024);
    const bias = values.get("model.layers.0.self_attn.q_proj.bias") as Float32Array;
    expect([...bias.subarray(0, 8)]).toEqual([0, 2, 4, 6, 1, 3, 5, 7]);
    await expect(imported({ ...spec, tensors: [...spec.tensors, ...more.slice(0, 3)] })).rejects.toThrow(
      "has attention biases for attn_q, attn_k, attn_v but not for attn_output: not supported",
    );
  });

  test("has short decimals where the file has float32", async () => {
    const { config } = await changed({
      "llama.attention.layer_norm_rms_epsilon": f32(1e-6),
      "llama.rope.freq_base": f32(500000),
    });
    expect(config.rms_norm_eps).toBe(1e-6);
    expect(config.rope_parameters).toEqual({ rope_theta: 500000, rope_type: "default" });
  });

  test("with a sliding window is a mistral", async () => {
    const { config } = await changed({ "llama.attention.sliding_window": u32(16) });
    const expected = { model_type: "mistral", architectures: ["MistralForCausalLM"], sliding_window: 16 };
    expect(config).toMatchObject(expected);
  });

  test.each<[string, Record<string, Value>, object]>([
    ["none", { "llama.rope.scaling.type": str("none") }, { rope_type: "default" }],
    ["a factor alone", { "llama.rope.scaling.factor": f32(4) }, { rope_type: "linear", factor: 4 }],
    ["the old key", { "llama.rope.scale_linear": f32(2) }, { rope_type: "linear", factor: 2 }],
    [
      "yarn",
      {
        "llama.rope.scaling.type": str("yarn"),
        "llama.rope.scaling.factor": f32(4),
        "llama.rope.scaling.original_context_length": u32(32),
        "llama.rope.scaling.yarn_beta_fast": f32(16),
      },
      { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32, beta_fast: 16 },
    ],
  ])("has the scaling of rotary positions: %s", async (_, metadata, expected) => {
    expect((await changed(metadata)).config.rope_parameters).toEqual({ rope_theta: 10_000, ...expected });
  });

  test("has Llama 3.1's scaling if the factors of frequencies are its", async () => {
    // The published formula, with factor 8: wavelengths below 2 048 are kept, above 8 192 are scaled.
    const factors = [0, 1, 2, 3].map((i) => {
      const wavelength = 2 * Math.PI * 500_000 ** ((2 * i) / 8);
      const smooth = (8192 / wavelength - 1) / 3;
      return wavelength < 2048 ? 1 : wavelength > 8192 ? 8 : 1 / ((1 - smooth) / 8 + smooth);
    });
    expect(factors.filter((factor) => factor !== 1 && factor !== 8)).toHaveLength(1);
    const spec = withMetadata(smallLlama(), { "llama.rope.freq_base": f32(500_000) });
    const { config } = await imported({ ...spec, tensors: [...spec.tensors, vector("rope_freqs.weight", factors)] });
    expect(config.rope_parameters).toEqual({
      rope_theta: 500_000,
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    });
  });
});

describe("the tokenizer", () => {
  async function opened({ texts }: GgufModel) {
    mkdirSync(at("tokenizer"), { recursive: true });
    for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
      writeFileSync(at("tokenizer", name), texts.get(name) as string);
    }
    return openTokenizer(at("tokenizer"));
  }

  test("of a byte-level vocabulary merges, and finds markup as a whole", async () => {
    const tokenizer = await opened(await changed({}));
    // 0 <|end|>, 1 to 26 a to z, 27 Ġ, 28 ab, 29 abc, 30 Ġa
    expect([...tokenizer.encode("abcd ab<|end|>b")]).toEqual([29, 4, 27, 28, 0, 2]);
    expect(tokenizer.decode([29, 4, 30, 2])).toBe("abcd ab");
    expect(tokenizer.eosTokenId).toBe(0);
  });

  const PIECES = ["<unk>", "<s>", "</s>", "▁", "a", "b", "c", "ab", "abc", "▁a", "<0x64>", "<think>"];
  const pieces = (more: Record<string, Value> = {}) =>
    changed({
      "tokenizer.ggml.model": str("llama"),
      "tokenizer.ggml.pre": undefined,
      "tokenizer.ggml.tokens": strings(PIECES),
      "tokenizer.ggml.token_type": ints([2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 6, 4]),
      "tokenizer.ggml.merges": undefined,
      "tokenizer.ggml.scores": floats([0, 0, 0, -9, -5, -6, -7, -1, -3, -2, 0, 0]),
      "tokenizer.ggml.bos_token_id": u32(1),
      "tokenizer.ggml.eos_token_id": u32(2),
      ...more,
    });

  test("of SentencePiece recovers merges from scores, and falls back to bytes", async () => {
    const model = await pieces();
    expect(json(model, "tokenizer.json").model.merges).toEqual([
      ["a", "b"],
      ["▁", "a"],
      ["ab", "c"],
    ]);
    const tokenizer = await opened(model);
    expect([...tokenizer.encode("abc<think>d")]).toEqual([3, 8, 11, 10]);
    const { post_processor: template } = json(model, "tokenizer.json");
    expect(template.single[0]).toEqual({ SpecialToken: { id: "<s>", type_id: 0 } });
    expect(json(model, "tokenizer_config.json")).toMatchObject({ add_bos_token: true, bos_token: "<s>" });
  });

  test("obeys the flags for a beginning of text and for a space in front", async () => {
    const flags = { "tokenizer.ggml.add_bos_token": flag(false), "tokenizer.ggml.add_space_prefix": flag(false) };
    const model = await pieces(flags);
    expect(json(model, "tokenizer.json").post_processor.single).toEqual([{ Sequence: { id: "A", type_id: 0 } }]);
    expect([...(await opened(model)).encode("abc")]).toEqual([8]);
  });
});

describe("generation and card", () => {
  test("end texts at the end of a turn too, and sample as the file says", async () => {
    const model = await changed({
      "tokenizer.ggml.eot_token_id": u32(3),
      "general.sampling.temp": f32(0.7),
      "general.sampling.top_k": u32(20),
    });
    expect(json(model, "generation_config.json")).toEqual({
      do_sample: true,
      eos_token_id: [0, 3],
      temperature: 0.7,
      top_k: 20,
    });
    expect(json(await changed({}), "generation_config.json")).toEqual({ eos_token_id: 0 });
  });

  test("take the most likely token if the file states temperature 0", async () => {
    const model = await changed({ "general.sampling.temp": f32(0), "general.sampling.top_k": u32(20) });
    expect(json(model, "generation_config.json")).toEqual({ do_sample: false, eos_token_id: 0 });
  });

  test("name the license and the base model, quoted as YAML needs", async () => {
    const { texts } = await changed({
      "general.license": str("no"),
      "general.base_model.0.repo_url": str("https://huggingface.co/owner/base"),
      "general.name": str("A\n---\nname"),
    });
    expect(texts.get("README.md")).toBe(
      '---\nlicense: "no"\nbase_model: "owner/base"\n---\n\n# A --- name\n\nImported from a GGUF file.\n',
    );
    const { texts: none } = await changed({ "general.license": undefined });
    expect([...none.keys()]).not.toContain("README.md");
  });
});
