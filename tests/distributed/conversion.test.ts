// Conversions whose calibration and layers are shared by two and three processes of this machine: their model, and what is
// kept when one of them is killed.

import { describe, expect, test } from "bun:test";
import { buildState } from "../../native/build-state.ts";
import { cut, dealt } from "../../workbench/compress/dealt-layers.ts";
import type { PlannedLayer } from "../../workbench/compress/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import type { ConvertAnswer, ConvertTask } from "./convert-rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const PATIENCE = 240_000;
const at = temporaryFolder();
const answers = workersOf("convert-rank.ts");
if (state.state !== "built") console.log("shared conversions are not tested: the native engine is not built");

/** The answers of all ranks; `size` 0 is one process that is no rank. */
const converted = async (folder: string, size: number, task: Omit<ConvertTask, "folder">) =>
  (await answers({ folder: at(folder), ...task }, size)) as (ConvertAnswer & { error?: string })[];

const WAYS: Record<string, Omit<ConvertTask, "folder">> = {
  "searched blocks, sequential, allocated by the loss": {
    model: "llama",
    structure: "gblr",
    ways: { init: "search", allocation: "loss", sequential: true },
  },
  "searched blocks, in groups of covariances that fit into little memory": {
    structure: "gblr",
    ways: { init: "search", allocation: "uniform", calibrationBytes: 10_000 },
  },
  "low rank, all at once": { structure: "lowrank", ways: { init: "activation", allocation: "global" } },
};

describe.skipIf(state.state !== "built")("a conversion over processes", () => {
  test.each(Object.keys(WAYS))(
    "of %s has the same model on all, each layer is converted once, and errors are those of one process",
    async (title) => {
      const way = WAYS[title] as Omit<ConvertTask, "folder">;
      const [alone] = (await converted(`${title} alone`, 0, way)) as [ConvertAnswer];
      if (way.ways.calibrationBytes !== undefined) expect(alone.groups).toBeGreaterThan(1);
      for (const size of [2, 3]) {
        const ranks = await converted(`${title} ${size}`, size, way);
        const [first] = ranks as [ConvertAnswer];
        for (const { numbers, errors, found } of ranks) {
          expect({ numbers, errors, found }).toEqual({ numbers: first.numbers, errors: first.errors, found: [] });
        }
        expectSameErrors(first, alone);
        // Layers that stay dense are no work, which all do.
        const dealtOut = (own: readonly string[]) => own.filter((name) => !alone.dense.includes(name)).toSorted();
        expect(dealtOut(ranks.flatMap(({ own }) => own))).toEqual(dealtOut(alone.own));
        if (size === 2) for (const { own } of ranks) expect(own.length).toBeGreaterThan(1);
      }
    },
    PATIENCE,
  );

  test(
    "repeats bit by bit with as many processes, and without a calibration with any number of them",
    async () => {
      const [calibrated] = Object.values(WAYS) as [Omit<ConvertTask, "folder">];
      const plain: Omit<ConvertTask, "folder"> = {
        structure: "gblr",
        ways: { init: "search", allocation: "global" },
        uncalibrated: true,
      };
      for (const [way, sizes] of [
        [calibrated, [2, 2]],
        [plain, [0, 2, 3]],
      ] as const) {
        const made: ConvertAnswer[] = [];
        for (const [i, size] of sizes.entries()) {
          made.push(...(await converted(`again ${way.structure} ${sizes.length} ${i}`, size, way)));
        }
        for (const { numbers } of made) expect(numbers).toEqual((made[0] as ConvertAnswer).numbers);
      }
    },
    PATIENCE,
  );

  test(
    "ends when one is killed, and goes on with what all have finished",
    async () => {
      const way: Omit<ConvertTask, "folder"> = { structure: "gblr", ways: { init: "search", allocation: "uniform" } };
      const [alone] = (await converted("all", 2, way)) as [ConvertAnswer];
      const [first, killed] = await converted("killed", 2, { ...way, killed: 1 });
      expect(killed as unknown).toEqual({ ended: "SIGKILL" });
      expect(first?.error).toMatch(/^rank 0 of 2: \w+ in a conversion failed: another rank has ended; see the output/);
      const resumed = (await converted("killed", 2, way)) as [ConvertAnswer, ConvertAnswer];
      const [{ found }] = resumed;
      expect(found.length).toBeGreaterThan(1);
      expect(resumed[1].found).toEqual(found);
      const layers = Object.keys(alone.errors);
      expect([...found, ...resumed.flatMap(({ own }) => own)].toSorted()).toEqual(layers.toSorted());
      for (const { numbers } of resumed) expect(numbers).toEqual(alone.numbers);
    },
    PATIENCE,
  );
});

/** A search amplifies the rounding of covariances, which are sums in another order. */
function expectSameErrors({ errors }: ConvertAnswer, { errors: expected }: ConvertAnswer): void {
  expect(Object.keys(errors)).toEqual(Object.keys(expected));
  for (const [name, error = 0] of Object.entries(errors)) {
    expect(Math.abs(error - (expected[name] as number)), name).toBeLessThan(0.02 * (expected[name] as number) + 1e-6);
  }
}

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
