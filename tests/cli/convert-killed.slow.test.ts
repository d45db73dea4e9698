// Conversions whose process is killed, and that are started again by the same command: finished layers are not converted
// again, and the model is that of a conversion left alone, bit by bit.

import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { GBLR, makeTinyHub, run, start } from "../pipeline/tiny-hub.ts";

const folder = temporaryFolder();
const PATIENCE = 400_000;
const LAYERS = 6;
let hub: string;

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  hub = await makeTinyHub(folder("hub"));
}, PATIENCE);

/** The files of finished layers, with their times of writing. */
function finished(work: string): Map<string, number> {
  const place = join(work, "model.layers");
  const names = existsSync(place) ? readdirSync(place).filter((name) => !name.endsWith(".tmp")) : [];
  return new Map(names.map((name) => [name, statSync(join(place, name)).mtimeMs]));
}

const values = (work: string) =>
  ["model.safetensors", "trainable.safetensors"].map((name) =>
    Bun.hash(readFileSync(join(work, "model", name))).toString(),
  );

const WAYS = {
  "sequential search": ["--init", "search", "--search-steps", "150", "--sequential"],
  "conversion with layers that stay dense": ["--init", "activation", "--allocate", "loss", "--sequential"],
};

for (const [title, flags] of Object.entries(WAYS)) {
  test(
    `a ${title} loses at most the layer at which its process was killed`,
    async () => {
      const args = ["convert", "tiny/gpt2", "--structure", "gblr", "--budget", "0.8", "--engine", "wasm", ...flags];
      args.push("--calibrate", "tiny/stories", "--calibrate-samples", "4", "--out", "model");
      const own = (name: string) => {
        mkdirSync(folder(`${title} ${name}`));
        return { hub, work: folder(`${title} ${name}`) };
      };
      const alone = own("alone");
      expect(await run(GBLR, args, alone)).toMatchObject({ code: 0 });
      expect(existsSync(join(alone.work, "model.layers"))).toBe(false);

      const killed = own("killed");
      let before = finished(killed.work);
      for (const least of [2, 4]) {
        const child = start(GBLR, args, killed);
        while (finished(killed.work).size < least && child.exitCode === null) await Bun.sleep(5);
        child.kill("SIGKILL");
        await child.exited;
        const now = finished(killed.work);
        expect(now.size).toBeGreaterThanOrEqual(least);
        // What an earlier process has finished is not written again.
        for (const [name, time] of before) expect(now.get(name)).toBe(time);
        before = now;
      }
      const last = await run(GBLR, [...args, "--json"], killed);
      expect(last.code).toBe(0);
      expect(JSON.parse(last.stdout).layers.length).toBe(LAYERS);
      expect(values(killed.work)).toEqual(values(alone.work));
      expect(existsSync(join(killed.work, "model.layers"))).toBe(false);
    },
    PATIENCE,
  );
}

test(
  "layers that were calibrated on what a data set had before it changed are not taken over",
  async () => {
    const own = (name: string) => {
      mkdirSync(join(folder(`changed data ${name}`), "text"), { recursive: true });
      return { hub, work: folder(`changed data ${name}`) };
    };
    const write = ({ work }: { work: string }, line: string) =>
      writeFileSync(join(work, "text", "train.txt"), `${line}\n`.repeat(400));
    const args = ["convert", "tiny/gpt2", "--structure", "gblr", "--budget", "0.5", "--engine", "wasm"];
    args.push("--init", "activation", "--calibrate", "./text", "--calibrate-samples", "4", "--out", "model");
    const killed = own("killed");
    write(killed, "once upon a time there was a small house");
    const child = start(GBLR, args, killed);
    while (finished(killed.work).size < 2 && child.exitCode === null) await Bun.sleep(1);
    child.kill("SIGKILL");
    await child.exited;
    expect(finished(killed.work).size).toBeGreaterThanOrEqual(2);
    const alone = own("alone");
    for (const place of [killed, alone]) {
      write(place, "the cat and the dog ran home together then");
      expect(await run(GBLR, args, place)).toMatchObject({ code: 0, stderr: "" });
    }
    expect(values(killed.work)).toEqual(values(alone.work));
  },
  PATIENCE,
);

test(
  "layers of other settings are not taken over",
  async () => {
    const work = folder("other settings");
    mkdirSync(work);
    const args = (...flags: string[]) => [
      "convert",
      "tiny/gpt2",
      "--structure",
      "gblr",
      "--engine",
      "wasm",
      "--init",
      "search",
      "--out",
      "model",
      ...flags,
    ];
    const first = start(GBLR, args("--budget", "0.6", "--search-steps", "150"), { hub, work });
    while (finished(work).size < 2 && first.exitCode === null) await Bun.sleep(5);
    first.kill("SIGKILL");
    await first.exited;
    expect(finished(work).size).toBeGreaterThanOrEqual(2);
    const second = await run(GBLR, args("--budget", "0.5", "--search-steps", "5", "--json"), { hub, work });
    expect(second.code).toBe(0);
    const { totals } = JSON.parse(second.stdout);
    expect(totals.share).toBeLessThanOrEqual(0.5);
    const alone = folder("other settings, alone");
    mkdirSync(alone);
    expect((await run(GBLR, args("--budget", "0.5", "--search-steps", "5"), { hub, work: alone })).code).toBe(0);
    expect(values(work)).toEqual(values(alone));
  },
  PATIENCE,
);
