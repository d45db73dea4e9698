// A sweep that several processes work on, with a recipe that fails at once: what others work on is waited for, and what has
// failed elsewhere is not run again.

import { beforeAll, expect, test } from "bun:test";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { claim } from "../../workbench/pipeline/run-folder.ts";
import { gridOf, type SweepEvent, type SweepOptions, sweep } from "../../workbench/pipeline/sweep.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const folder = temporaryFolder();
const points = gridOf([{ setting: "seed", values: ["1", "2", "3"] }]);
let recipe: SweepOptions["recipe"];
const ran = (): string[] => readFileSync(folder("ran"), "utf8").split("\n").filter(Boolean);

beforeAll(() => {
  recipe = { name: "failing", path: folder("failing.ts") };
  const lines = [
    'import { appendFileSync } from "node:fs";',
    `appendFileSync(${JSON.stringify(folder("ran"))}, process.argv[2] + "\\n");`,
    'console.error("no such data");',
    "process.exitCode = 1;",
  ];
  writeFileSync(recipe.path, lines.join("\n"));
});

async function swept(into: string, { place, on }: Pick<SweepOptions, "place"> & { on?: (event: SweepEvent) => void }) {
  writeFileSync(folder("ran"), "", { flag: "a" });
  const { signal } = new AbortController();
  const events: SweepEvent[] = [];
  for await (const event of sweep({ recipe, points, flags: [], folder: folder(into), place, signal })) {
    events.push(event);
    on?.(event);
  }
  const [last] = events.slice(-1);
  const runs = last?.kind === "swept" ? last.runs.map(({ status, error }) => `${status}: ${error}`) : [];
  return { events, runs };
}

const placeOf = (rank: number): NonNullable<SweepOptions["place"]> => ({
  ...{ rank, size: 2, localRank: rank, localSize: 2 },
  ...{ meeting: { address: "localhost", port: 1 }, restarts: 0 },
});

test("what has failed in one process is not run again by the others, but by the next call", async () => {
  const failed = points.map(() => "failed: no such data");
  const both = await Promise.all([0, 1].map((rank) => swept("several", { place: placeOf(rank) })));
  expect(both.map(({ runs }) => runs)).toEqual([failed, failed]);
  expect(ran().toSorted()).toEqual(["--seed=1", "--seed=2", "--seed=3"]);
  expect((await swept("several", {})).runs).toEqual(failed);
  expect(ran()).toHaveLength(6);
});

test("a run that goes on after its sweep was killed is waited for, after all others", async () => {
  const going = await claim(join(folder("orphan"), "seed-1"));
  const before = ran().length;
  const { events, runs } = await swept("orphan", {
    on: (event) => {
      if (event.kind !== "waits") return;
      appendFileSync(folder("ran"), "the orphan ends\n");
      void going();
    },
  });
  expect(ran().slice(before)).toEqual(["--seed=2", "--seed=3", "the orphan ends", "--seed=1"]);
  const waited = events.flatMap((event) => (event.kind === "waits" ? [event.point.key] : []));
  expect(waited).toEqual(["seed-1"]);
  expect(runs).toEqual(points.map(() => "failed: no such data"));
});
