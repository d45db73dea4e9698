// Models of several sizes in Python: the same cut as in the workbench, and records that break a rule, which both refuse in
// one line.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { cutModel } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { SIZED, saveSized } from "../compress/sizes/sized.ts";
import { logitsOf, TINY, tokens } from "../compress/tiny.ts";
import { expectClose } from "../engine/ops/operands.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "./python.ts";

setDefaultTimeout(PATIENCE);

const at = temporaryFolder();
const python = pythonWith("torch");
const KEEPS = [0.3, 0.44, 0.7];
const LAYER = "h.1.mlp.c_fc";

interface Answer {
  logits?: number[];
  refusal?: string;
}

async function inPython(cases: readonly { folder: string; keep: number; mode?: string }[]): Promise<Answer[]> {
  const ids = tokens(4);
  const rows = Array.from(await ids.data());
  ids.dispose();
  const input = JSON.stringify({
    ids: rows.slice(0, TINY.n_positions),
    images: {},
    cases: cases.map((each) => ({ size: null, form: "auto", ...each })),
  });
  return askPython<Answer[]>(python as string, "folder_logits.py", { args: [SOURCES], input });
}

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  for (const [structure, init] of SIZED) await saveSized(at(structure), structure, init);
}, PATIENCE);

test.skipIf(!python).each(SIZED)("a cut of %s has the same logits in PyTorch", async (structure) => {
  const answers = await inPython([
    ...KEEPS.map((keep) => ({ folder: at(structure), keep })),
    ...KEEPS.map((keep) => ({ folder: at(structure), keep, mode: "packed" })),
  ]);
  for (const [i, keep] of [...KEEPS, ...KEEPS].entries()) {
    const cut = await loadModelNow(at(structure));
    await cutModel(cut, keep);
    // Those of the first text.
    const expected = (await logitsOf(cut)).slice(0, TINY.n_positions * TINY.vocab_size);
    cut.dispose();
    expect(answers[i]?.refusal).toBeUndefined();
    expectClose(Float32Array.from(answers[i]?.logits ?? []), expected, { tolerance: 2e-3 });
  }
  expect(answers[0]?.logits).not.toEqual(answers[1]?.logits as number[]);
});

interface SizesPart {
  version: unknown;
  sizes: unknown;
  layers: Record<string, Ranks>;
}
type Ranks = unknown[][];

const WORDS = {
  version: /"gblr\.sizes\.version" must be 1, is 2/,
  rising: /"gblr\.sizes\.sizes" must be rising numbers/,
  lists: /must have 3 lists of ranks/,
  tiles: /must have the same number of tiles, and none may fall/,
};

/** Other ranks for one layer. */
const ranksOf =
  (change: (ranks: number[][]) => Ranks) =>
  ({ layers }: SizesPart): Partial<SizesPart> => ({
    layers: { ...layers, [LAYER]: change(structuredClone(layers[LAYER]) as number[][]) },
  });

const CHANGES: [string, (part: SizesPart) => Partial<SizesPart>, RegExp][] = [
  ["another version", () => ({ version: 2 }), WORDS.version],
  ["sizes that fall", () => ({ sizes: [0.5, 0.3, 0.7] }), WORDS.rising],
  ["a size above 1", () => ({ sizes: [0.3, 0.5, 1.7] }), WORDS.rising],
  ["sizes that are text", () => ({ sizes: "0.3" }), WORDS.rising],
  ["no layers", () => ({ layers: {} }), /"gblr\.sizes\.layers" must name a layer/],
  ["too few lists", ranksOf((ranks) => ranks.slice(1)), WORDS.lists],
  ["ranks below 0", ranksOf(([first = [], ...others]) => [first.map(() => -1), ...others]), WORDS.lists],
  ["ranks that are no whole numbers", ranksOf(([, ...others]) => [[0.5], ...others]), WORDS.lists],
  ["ranks that are true", ranksOf((ranks) => ranks.map(() => [true])), WORDS.lists],
  ["ranks that fall", ranksOf((ranks) => ranks.toReversed()), WORDS.tiles],
  ["tiles that come and go", ranksOf(([first = [], ...others]) => [[...first, 1], ...others]), WORDS.tiles],
  ["more ranks than blocks", ranksOf(more), /has \d+ blocks, its sizes have \d+ ranks/],
  [
    "a layer that is not there",
    ({ layers }) => ({ layers: { ...layers, "h.9.mlp.c_fc": layers[LAYER] as Ranks } }),
    /the model has no such layer/,
  ],
  ["tiles of other blocks", joined, /must have the spans of block|the first tile must be/],
];

/** One rank more in the last tile at the largest size. */
function more(ranks: number[][]): number[][] {
  const last = ranks.at(-1) as number[];
  return [...ranks.slice(0, -1), [...last.slice(0, -1), (last.at(-1) as number) + 1]];
}

/** All ranks of a layer that has several tiles in the first one. */
function joined({ layers }: SizesPart): Partial<SizesPart> {
  const found = Object.entries(layers as Record<string, number[][]>).find(
    ([, ranks]) => (ranks.at(-1) as number[]).filter((rank) => rank > 0).length > 1,
  );
  if (!found) throw new Error("no layer has several tiles");
  const [name, ranks] = found;
  const first = (own: number[]) => own.map((_, tile) => (tile === 0 ? own.reduce((sum, rank) => sum + rank, 0) : 0));
  return { layers: { ...layers, [name]: ranks.map(first) } };
}

test("a record that breaks a rule is refused in one line, in Python in the same words", async () => {
  const refusals: string[] = [];
  for (const [name, change] of CHANGES) {
    cpSync(at("gblr"), at(name), { recursive: true });
    const fields = JSON.parse(readFileSync(at(name, "config.json"), "utf8"));
    Object.assign(fields.gblr.sizes, change(fields.gblr.sizes));
    writeFileSync(at(name, "config.json"), JSON.stringify(fields));
    const model = await loadModelNow(at(name));
    refusals.push(
      await cutModel(model, 0.5).then(
        () => "none",
        (error: Error) => error.message,
      ),
    );
    model.dispose();
  }
  for (const [i, [, , reason]] of CHANGES.entries()) {
    expect(refusals[i]).toMatch(reason);
    expect(refusals[i]).toMatch(/^\P{C}+$/u);
  }
  if (!python) return;
  const answers = await inPython(CHANGES.map(([name]) => ({ folder: at(name), keep: 0.5 })));
  for (const [i, [, , reason]] of CHANGES.entries()) {
    expect(answers[i]?.refusal).toMatch(reason);
    expect(answers[i]?.refusal).toMatch(/^\P{C}+$/u);
  }
});

test.skipIf(!python)("a size outside of the range, and a model of one size, are refused in one line", async () => {
  const model = await loadModelNow(at("lowrank"));
  await cutModel(model, 0.5);
  await saveModelNow(model, at("one size"));
  model.dispose();
  const [outside, single] = await inPython([
    { folder: at("gblr"), keep: 0.8 },
    { folder: at("one size"), keep: 0.5 },
  ]);
  expect(outside?.refusal).toBe(`${at("gblr")}: the model has sizes from 0.3 to 0.7, not 0.8; give keep in this range`);
  expect(single?.refusal).toContain("make one with `gblr convert --sizes 0.2..0.8`");
});
