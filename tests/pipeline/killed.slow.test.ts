// Experiments whose process is killed at random moments, or stopped by Ctrl-C, and that are started again by the same
// command: they end with the numbers of one left alone.

import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { ComparisonRow } from "../../workbench/report/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { timeless } from "./timeless.ts";
import { makeTinyHub, QUICK, RECIPE, run, start } from "./tiny-hub.ts";

const folder = temporaryFolder();
const PATIENCE = 240_000;
const ARGS = [
  ...QUICK,
  ...["--flops", "0.6", "--shrink", "budget", "--start-cost", "0.9", "--init", "activation", "--allocate", "global"],
  ...["--compare", "lowrank", "--run", "run"],
];
/** Recovery by adapters, with the dense model as the teacher. */
const RECOVERY = [
  ...QUICK,
  ...["--flops", "0.6", "--lora", "4", "--distill", "0.5", "--compare", "lowrank", "--run", "run"],
];
let hub: string;
type Left = ReturnType<typeof left>;
let alone: Left;
let recoveredAlone: Left;

/** A place of its own, but for the Hub. */
function place(name: string) {
  mkdirSync(folder(name));
  return { hub, work: folder(name) };
}

/** What does not depend on when things happened: rows without seconds, and the model's values. */
function left(work: string): { rows: unknown[]; files: Record<string, string> } {
  const rows: ComparisonRow[] = JSON.parse(readFileSync(join(work, "run/comparison.json"), "utf8"));
  const hashes = ["model", "converted", "compare/lowrank/model"].flatMap((own) =>
    readdirSync(join(work, "run", own))
      .filter((name) => name.endsWith(".safetensors"))
      .map((name) => [`${own}/${name}`, Bun.hash(readFileSync(join(work, "run", own, name))).toString()] as const),
  );
  return { rows: timeless(rows), files: Object.fromEntries(hashes) };
}

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  hub = await makeTinyHub(folder("hub"));
  const own = place("alone");
  expect(await run(RECIPE, ARGS, own)).toMatchObject({ code: 0, stderr: "" });
  alone = left(own.work);
  const other = place("recovered-alone");
  expect(await run(RECIPE, RECOVERY, other)).toMatchObject({ code: 0, stderr: "" });
  recoveredAlone = left(other.work);
}, PATIENCE);

test.each([
  ["an experiment", ARGS, () => alone] as const,
  ["one that trains adapters with a teacher", RECOVERY, () => recoveredAlone] as const,
])(
  "killed at random moments and started again, %s ends as one left alone, bit by bit",
  async (_, args, expected) => {
    const own = place(`killed-${args.length}`);
    let kills = 0;
    for (;;) {
      const child = start(RECIPE, args, own);
      // Longer each time, so that it ends; never before anything has begun.
      const timer = setTimeout(() => child.kill("SIGKILL"), 500 + Math.random() * (1500 + 1000 * kills));
      const stderr = await new Response(child.stderr).text();
      const code = await child.exited;
      clearTimeout(timer);
      expect(stderr).toBe("");
      if (child.signalCode === null) {
        expect(code).toBe(0);
        break;
      }
      kills++;
    }
    console.log(`killed ${kills} times`);
    expect(kills).toBeGreaterThan(0);
    expect(left(own.work)).toEqual(expected());
    expect(JSON.parse(readFileSync(join(own.work, "run/run.json"), "utf8")).status).toBe("finished");
  },
  PATIENCE,
);

test(
  "Ctrl-C ends it with one line and exit code 130, and the same command goes on to the same end",
  async () => {
    const own = place("interrupted");
    const stops = ["measure the", "convert low rank", "fine-tune low rank", "convert GBLR", "fine-tune GBLR"];
    for (const stop of stops) {
      const child = start(RECIPE, ARGS, own);
      const errors = new Response(child.stderr).text();
      let told = "";
      for await (const bytes of child.stdout) {
        const before = told.includes(stop);
        told += new TextDecoder().decode(bytes);
        if (!before && told.includes(stop)) child.kill("SIGINT");
      }
      const code = await child.exited;
      expect({ stop, code, errors: await errors }).toEqual({
        stop,
        code: 130,
        errors: "gpt2-wt103: interrupted; run keeps the results so far: run the same command again to resume\n",
      });
      expect(JSON.parse(readFileSync(join(own.work, "run/run.json"), "utf8")).status).toBe("interrupted");
    }
    expect(await run(RECIPE, ARGS, own)).toMatchObject({ code: 0, stderr: "" });
    expect(left(own.work)).toEqual(alone);
  },
  PATIENCE,
);
