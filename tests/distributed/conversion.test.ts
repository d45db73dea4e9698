// Conversions whose layers are shared by two and three processes of this machine: the model of one process, and what is
// kept when one of them is killed.

import { describe, expect, test } from "bun:test";
import { buildState } from "../../native/build-state.ts";
import { cut, dealt } from "../../workbench/compress/dealt-layers.ts";
import type { PlannedLayer } from "../../workbench/compress/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import type { ConvertAnswer, ConvertTask } from "./convert-rank.ts";
import { answers } from "./start.ts";

const state = buildState();
const PATIENCE = 240_000;
const at = temporaryFolder();
if (state.state !== "built") console.log("shared conversions are not tested: the native engine is not built");

/** The answers of all ranks; `size` 0 is one process that is no rank. */
const converted = async (folder: string, size: number, task: Omit<ConvertTask, "folder">) =>
  (await answers("convert-rank.ts", { folder: at(folder), ...task }, size)) as (ConvertAnswer & { error?: string })[];

const WAYS: Record<string, Omit<ConvertTask, "folder">> = {
  "searched blocks, sequential, allocated by the loss": {
    model: "llama",
    structure: "gblr",
    ways: { init: "search", allocation: "loss", sequential: true },
  },
  "searched blocks, in groups of covariances that fit into little memory": {
    structure: "gblr",
    ways: { init: "search", allocation: "uniform", calibrationBytes: 100_000 },
  },
  "low rank, all at once": { structure: "lowrank", ways: { init: "activation", allocation: "global" } },
};

describe.skipIf(state.state !== "built")("a conversion over processes", () => {
  test.each(Object.keys(WAYS))(
    "of %s is bit-equal to one of one process, and each layer is converted once",
    async (title) => {
      const way = WAYS[title] as Omit<ConvertTask, "folder">;
      const [alone] = (await converted(`${title} alone`, 0, way)) as [ConvertAnswer];
      for (const size of [2, 3]) {
        const ranks = await converted(`${title} ${size}`, size, way);
        for (const { numbers, errors, found } of ranks) {
          expect({ numbers, errors, found }).toEqual({ numbers: alone.numbers, errors: alone.errors, found: [] });
        }
        // Layers that stay dense are no work, which all do.
        const dealtOut = (own: readonly string[]) => own.filter((name) => !alone.dense.includes(name)).toSorted();
        expect(dealtOut(ranks.flatMap(({ own }) => own))).toEqual(dealtOut(alone.own));
        if (size === 2) for (const { own } of ranks) expect(own.length).toBeGreaterThan(1);
      }
    },
    PATIENCE,
  );

  test(
    "ends when one is killed, and goes on with what all have finished",
    async () => {
      const way: Omit<ConvertTask, "folder"> = { structure: "gblr", ways: { init: "search", allocation: "uniform" } };
      const [alone] = (await converted("all", 0, way)) as [ConvertAnswer];
      const [first, killed] = await converted("killed", 2, { ...way, killed: 1 });
      expect(killed as unknown).toEqual({ ended: "SIGKILL" });
      expect(first?.error).toMatch(/^rank 0 of 2: \w+ in a conversion failed: another rank has ended; see the output/);
      const [resumed] = (await converted("killed", 0, way)) as [ConvertAnswer];
      expect(resumed.found.length).toBeGreaterThan(1);
      expect([...resumed.found, ...resumed.own].toSorted()).toEqual(alone.own.toSorted());
      expect(resumed.numbers).toEqual(alone.numbers);
    },
    PATIENCE,
  );
});

const layer = (name: string, nIn: number, nOut: number, structure = "gblr") =>
  ({ name, nIn, nOut, structure }) as PlannedLayer;

test("layers are dealt such that processes have about the same work, and each layer has one process", () => {
  const layers = [layer("a", 40, 40), layer("b", 10, 10), layer("c", 39, 40), layer("d", 10, 12), layer("e", 30, 30)];
  const shares = [0, 1].map((rank) => dealt(layers, { rank, size: 2 }));
  expect(shares.map(({ own }) => own.map(({ name }) => name))).toEqual([
    ["a", "b", "d"],
    ["c", "e"],
  ]);
  expect(shares.map(({ others }) => others.map(({ name }) => name))).toEqual([
    ["c", "e"],
    ["a", "b", "d"],
  ]);
});

test("dense layers are those of all processes", () => {
  const { own, others } = dealt([layer("a", 4, 4), layer("b", 4, 4, "dense"), layer("c", 4, 4)], { rank: 1, size: 2 });
  expect([own, others].map((some) => some.map(({ name }) => name))).toEqual([["b", "c"], ["a"]]);
});

test("a group of many layers is cut, so that processes meet", () => {
  const parts = cut([...Array(40).keys()], 2);
  expect(parts.map(({ length }) => length)).toEqual([16, 16, 8]);
  expect(parts.flat()).toEqual([...Array(40).keys()]);
});
