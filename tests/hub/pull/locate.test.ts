// What a user calls a model, and the folder that it is.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { type Located, type LocateOptions, locate } from "../../../hub/pull/locate.ts";
import { bytesOf, COMMIT, type HostileHub, hostileHub } from "../hostile-server.ts";
import { temporaryFolder } from "../temporary.ts";

const folder = temporaryFolder();
let hub: HostileHub;
beforeAll(async () => {
  hub = await hostileHub({ "config.json": bytesOf(30), "model.safetensors": bytesOf(40) });
});
afterAll(() => hub.close());

async function located(text: string, options?: LocateOptions): Promise<Located> {
  const events = locate(text, "model", { endpoint: hub.url, cache: folder("cache") }, options);
  const last = (await Array.fromAsync(events)).at(-1);
  if (last?.kind !== "located") throw new Error(`the last event is ${last?.kind}`);
  return last;
}

test("a folder is itself, and nobody is asked", async () => {
  mkdirSync(folder("x/y"), { recursive: true });
  expect(await located(folder("x/y"))).toEqual({ kind: "located", folder: folder("x/y"), name: folder("x/y") });
  expect(hub.asked).toEqual([]);
});

test("a name is pulled, with the patterns that were given", async () => {
  const found = await located("x/y@v1", { include: ["*.json"] });
  const snapshot = folder("cache", "models--x--y", "snapshots", COMMIT);
  expect(found).toEqual({ kind: "located", folder: snapshot, name: "x/y@v1", commit: COMMIT, repo: "x/y" });
  expect(hub.asked.some(({ path }) => path.endsWith("model.safetensors"))).toBe(false);
});

test.each([
  ["./absent", /^there is no folder "\.\/absent"; give a model folder or a name such as owner\/name$/],
  ["/absent/model", /^there is no folder "\/absent\/model"/],
  [
    "runs/gpt2/final",
    /^there is no folder "runs\/gpt2\/final", and "runs\/gpt2\/final" is not a valid name of a model: it has more than one slash/,
  ],
  ["zoo:gpt3", /is not in the zoo; available: zoo:gpt2-gaudi/],
  [
    "zoo:gpt2-gaudi",
    /^zoo:gpt2-gaudi cannot be used here; run "gblr pull zoo:gpt2-gaudi" and give the folder it prints$/,
  ],
])("%s is one line", async (text, says) => {
  await expect(located(text)).rejects.toThrow(says);
});

test("a zoo name is left to whoever can make a model of it", async () => {
  const made: Located = { kind: "located", folder: folder("made"), name: "zoo:gpt2-gaudi" };
  const zoo = async function* (name: string) {
    expect(name).toBe("zoo:gpt2-gaudi");
    yield made;
  };
  expect(await located("zoo:gpt2-gaudi", { zoo })).toEqual(made);
});
