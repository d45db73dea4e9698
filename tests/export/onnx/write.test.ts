// ONNX files on disk: the wire format, weights in a second file, and old files after errors. What cannot be exported is
// refused by name.

import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { Graph } from "../../../workbench/export/onnx/graph.ts";
import { exportOnnx } from "../../../workbench/export/onnx/index.ts";
import { Message } from "../../../workbench/export/onnx/protobuf.ts";
import { writeOnnx } from "../../../workbench/export/onnx/write.ts";
import type { Model } from "../../../workbench/models/index.ts";
import { createModel } from "../../../workbench/models/index.ts";
import { bigram } from "../../architectures/example.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { livelier, tinyGpt2 } from "../../models/tiny.ts";
import { PATIENCE } from "../../python/python.ts";
import { converted, expectSame, exported, fedIds, hasOnnx, logitsOfIds, runOnnx } from "./runtime.ts";

const at = temporaryFolder();
const FACTS = { name: "test", producer: { name: "gblr", version: "0" }, metadata: {} };

beforeAll(() => openEngine({ engine: "cpu" }));

test("fields have the bytes of Protocol Buffers", () => {
  const bytesOf = ({ pieces }: Message) => Buffer.concat(pieces as Uint8Array[]).toString("hex");
  // The examples of protobuf.dev/programming-guides/encoding.
  expect(bytesOf(new Message().int(1, 150))).toBe("089601");
  expect(bytesOf(new Message().string(2, "testing"))).toBe("120774657374696e67");
  expect(bytesOf(new Message().message(3, new Message().int(1, 150)))).toBe("1a03089601");
  expect(bytesOf(new Message().int(1, -2))).toBe("08feffffffffffffffff01");
  expect(bytesOf(new Message().int(16, 0))).toBe("800100");
  expect(bytesOf(new Message().float(1, 1.5))).toBe("0d0000c03f");
});

test.skipIf(!hasOnnx)(
  "weights of a model beyond the limit are in a second file, which is removed when they fit again",
  async () => {
    const model = livelier(tinyGpt2()) as Model;
    const file = at("model.onnx");
    await exported(model, file, { mostInOneFile: 1000 });
    const [answer] = await runOnnx({ file, runs: [{ inputs: { input_ids: fedIds(2, 9) } }] });
    expectSame(answer?.results[0], [2, 9, 40], await logitsOfIds(model, 2, 9));
    expect(answer?.external).toContain("h.0.mlp.c_fc.weight");
    expect(answer?.external).not.toContain("h.0.mlp.c_fc.bias");
    expect(statSync(file).size).toBeLessThan(statSync(`${file}_data`).size);
    await exported(model, file);
    expect(existsSync(`${file}_data`)).toBe(false);
    const [again] = await runOnnx({ file, runs: [{ inputs: { input_ids: fedIds(2, 9) } }] });
    expect(again?.results).toEqual(answer?.results ?? []);
    expect(again?.external).toEqual([]);
    model.dispose();
  },
  PATIENCE,
);

test.each([1e9, 10])("a write that fails leaves the old files, and nothing else (limit %d)", async (mostInOneFile) => {
  const folder = at(`kept ${mostInOneFile}`);
  mkdirSync(folder);
  writeFileSync(`${folder}/x.onnx`, "old");
  writeFileSync(`${folder}/x.onnx_data`, "old data");
  const graph = new Graph();
  graph.weights({
    name: "a.weight",
    dtype: "F32",
    shape: [2, 256],
    data: async function* () {
      yield new Uint8Array(1024);
    },
  });
  const write = async () => {
    for await (const _ of writeOnnx(graph, `${folder}/x.onnx`, { facts: FACTS, mostInOneFile }));
  };
  expect(write()).rejects.toThrow(/x\.onnx(_data)?: tensor "a\.weight": needs 2048 bytes, got 1024$/);
  await write().catch(() => {});
  expect(readdirSync(folder).sort()).toEqual(["x.onnx", "x.onnx_data"]);
  expect(readFileSync(`${folder}/x.onnx`, "utf8")).toBe("old");
  expect(readFileSync(`${folder}/x.onnx_data`, "utf8")).toBe("old data");
});

test("a file that cannot be created is named in one line", async () => {
  writeFileSync(at("none"), "a file, not a folder");
  const write = async () => {
    for await (const _ of writeOnnx(new Graph(), at("none", "x.onnx"), { facts: FACTS }));
  };
  expect(write()).rejects.toThrow(/^[^\n]*x\.onnx: cannot be written: [^\n]+$/);
});

test("structures and architectures without a graph are refused by name", async () => {
  const model = tinyGpt2() as Model;
  await converted(model, { structure: "monarch", budget: 0.7 });
  const write = async (source: Model) => {
    for await (const _ of exportOnnx(source, at("refused.onnx"), { version: "0" }));
  };
  expect(write(model)).rejects.toThrow(
    /^ONNX files hold layers that are dense, .*; h\.0\.attn\.c_attn is monarch; export with --to dense first[^\n]*$/,
  );
  const other = createModel(bigram, { vocab_size: 9, width: 4, inner: 4, positions: 5 }) as unknown as Model;
  expect(write(other)).rejects.toThrow(/^ONNX files hold models of .*; this is \w+[^\n]*$/);
  expect(existsSync(at("refused.onnx"))).toBe(false);
  model.dispose();
  other.dispose();
});
