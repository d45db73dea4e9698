// Pushes of experiments that fail: with a token that may not write. What is done stays, the same command with the right
// token only pushes, and no token is in anything that is printed or left.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type ServedHub, serveHub } from "../../hub/serve/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { GBLR, makeTinyHub, QUICK, RECIPE, run } from "./tiny-hub.ts";

const folder = temporaryFolder();
const PATIENCE = 120_000;
const WRONG = "hf_WrongWrongWrongWrong";
const READS = "hf_ReadsReadsReadsReads";
let hub: ServedHub;
let place: { hub: string; work: string };

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  place = { hub: await makeTinyHub(folder("hub")), work: folder("work") };
  mkdirSync(place.work);
  hub = await serveHub({ folder: place.hub, tokens: [{ token: READS, role: "read" }] });
}, PATIENCE);
afterAll(() => hub.close());

function filesIn(at: string): string[] {
  return readdirSync(at, { recursive: true })
    .map((name) => join(at, String(name)))
    .filter((path) => statSync(path).isFile());
}

test(
  "a token that may not write fails the push in one line, not the run, which the right token only has to push",
  async () => {
    const args = [...QUICK, "--budget", "0.5", "--steps", "2", "--run", "run", "--push", "me/pushed"];
    const env = (token: string) => ({ HF_ENDPOINT: hub.url, HF_TOKEN: token });
    const failed = await run(RECIPE, args, { ...place, env: env(READS) });
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/^gpt2-wt103: [^\n]*(token|write)[^\n]*\n$/);
    const before = readFileSync(join(place.work, "run/metrics.jsonl"), "utf8");
    const done = await run(RECIPE, [...args, "--json"], { ...place, env: env(hub.token) });
    expect({ code: done.code, stderr: done.stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(done.stdout).pushed).toContain("me/pushed");
    expect(readFileSync(join(place.work, "run/metrics.jsonl"), "utf8")).toBe(before);
    const wrong = await run(RECIPE, [...args, "--json", "--fresh"], { ...place, env: env(WRONG) });
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toMatch(/^gpt2-wt103: [^\n]+\n$/);
    const told = [failed, done, wrong].flatMap(({ stdout, stderr }) => [stdout, stderr]);
    const left = filesIn(place.work).map((path) => readFileSync(path, "latin1"));
    for (const text of [...told, ...left]) {
      for (const token of [WRONG, READS, hub.token]) expect(text.includes(token)).toBe(false);
    }
  },
  PATIENCE,
);

test(
  "a Hub in a folder is named by its folder in errors",
  async () => {
    const ended = await run(GBLR, ["eval", "ppl", "tiny/nope", "--dataset", "tiny/stories"], place);
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/^gblr: file:[^\n]*hub has no model "tiny\/nope"[^\n]*\n$/);
    expect(ended.stderr).not.toContain("127.0.0.1");
  },
  PATIENCE,
);
