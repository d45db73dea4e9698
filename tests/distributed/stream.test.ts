// Streamed data over processes: what each of them reads, over a kill and a change of their number.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { buildState } from "../../native/build-state.ts";
import { openTokenizer } from "../../workbench/data/index.ts";
import { writeImages } from "../data/stream/images.ts";
import { byteTokenizer, rowText, writeRows } from "../data/stream/rows.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import type { Seen, StreamAnswer, StreamTask } from "./stream-rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const PATIENCE = 240_000;
const at = temporaryFolder();
const answers = workersOf("stream-rank.ts");
if (state.state !== "built") console.log("streams over processes are not tested: the native engine is not built");

const [STEPS, LANES, EACH] = [13, 6, 2];

async function streamed(name: string, size: number, changes: Partial<StreamTask> = {}) {
  const task: StreamTask = {
    ...{ folder: at(name), data: at("set"), seen: at(`${name}.seen`) },
    ...{ steps: STEPS, lanes: LANES, each: EACH, ...changes },
  };
  return (await answers(task, size)) as (StreamAnswer | { error: string } | { ended: string })[];
}

const seenIn = (name: string): Seen[] =>
  readFileSync(at(`${name}.seen`), "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));

const placeOf = ({ step, index }: Seen): string => `${step}/${index}`;

/** What was read for each micro-batch. Expects that all who have read one have read the same. */
function readBy(seen: readonly Seen[]): Map<string, number[][]> {
  const found = new Map<string, number[][]>();
  for (const each of seen) {
    const before = found.get(placeOf(each));
    if (before) expect(each.inputs).toEqual(before);
    found.set(placeOf(each), each.inputs);
  }
  return found;
}

/** Rows of each row group of each file: as many as the training takes, less than one for each lane. */
const SIZES = [
  [9, 22, 13],
  [26, 5, 26, 10],
  [26, 19],
];
const ROWS = STEPS * LANES * EACH;

/** How often each row was read, of a text or of images. */
async function timesOf(kind: string, inputs: readonly number[][]): Promise<number[]> {
  const each = Array.from({ length: ROWS }, (_, i) => i);
  if (kind === "images") return each.map((row) => inputs.filter(([label]) => label === row).length);
  const tokenizer = await openTokenizer(at("tokenizer"));
  const texts = inputs.map((ids) => tokenizer.decode(ids));
  return each.map((row) => texts.filter((text) => text === rowText(row)).length);
}

describe.skipIf(state.state !== "built")("a stream over processes", () => {
  test.each(["texts", "images"])(
    "of %s is read once as a whole, over a kill and with another number of processes, which train as one does",
    async (kind) => {
      const data = { data: at(kind), ...(kind === "texts" && { tokenizer: byteTokenizer(at("tokenizer")) }) };
      expect(await (kind === "texts" ? writeRows : writeImages)(at(kind), SIZES)).toBe(ROWS);
      const [alone] = (await streamed(`${kind} alone`, 0, data)) as [StreamAnswer];
      const killed = await streamed(`${kind} ranks`, 2, { ...data, killed: { rank: 1, step: 6 } });
      expect(killed[1]).toEqual({ ended: "SIGKILL" });
      expect((killed[0] as { error: string }).error).toMatch(/rank 0 of 2: .* another rank has ended/);
      const before = seenIn(`${kind} ranks`);
      expect(new Set(before.map(({ rank }) => rank))).toEqual(new Set([0, 1]));
      const resumed = (await streamed(`${kind} ranks`, 3, data)) as StreamAnswer[];
      const after = seenIn(`${kind} ranks`).slice(before.length);
      // The checkpoint of step 4 was the last one.
      expect(Math.min(...after.map(({ step }) => step))).toBe(4);
      expect(new Set(after.map(({ rank }) => rank))).toEqual(new Set([0, 1, 2]));

      const expected = readBy(seenIn(`${kind} alone`));
      expect(readBy([...before, ...after])).toEqual(expected);
      expect(expected.size).toBe(STEPS * LANES);
      // Each micro-batch has one reader.
      const places = after.map(placeOf);
      expect(new Set(places).size).toBe(places.length);

      const times = await timesOf(kind, [...expected.values()].flat());
      // Lanes differ by a few rows, so some have begun their second pass when others end their first one.
      expect(times.filter((count) => count !== 1).length).toBeLessThan(0.1 * ROWS);
      expect(Math.max(...times)).toBeLessThanOrEqual(2);
      for (const { losses } of resumed) {
        const difference = losses.map((loss, i) => Math.abs(loss - (alone.losses[i + 4] as number)));
        expect(Math.max(...difference)).toBeLessThan(1e-5);
      }
      expect(resumed[1]?.numbers).toEqual((resumed[0] as StreamAnswer).numbers);
    },
    PATIENCE,
  );

  test(
    "is not resumed with other data or another order",
    async () => {
      writeRows(at("set"), [[20, 20, 20, 20, 20, 20, 21]]);
      const [other] = (await streamed("texts ranks", 0, { tokenizer: at("tokenizer") })) as [{ error: string }];
      expect(other.error).toMatch(/task stream is "[0-9a-f]+", requested "[0-9a-f]+"/);
    },
    PATIENCE,
  );
});
