// Without a network: a cache that has all of it is enough, one that has not says what it lacks. Also caches that can not
// be written, and disks that are full.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { bytesOf, COMMIT, type HostileHub, hostileHub, tagOf } from "../hostile-server.ts";
import { temporaryFolder } from "../temporary.ts";
import { failureOf, filesIn, pullAll, REPO } from "./pulling.ts";

const folder = temporaryFolder();
const FILES = {
  "config.json": bytesOf(300, 2),
  "model.safetensors": bytesOf(200_000),
  "tokenizer.json": bytesOf(5000, 3),
};
const NOWHERE = "http://127.0.0.1:64999";
const AT_COMMIT = { ...REPO, revision: COMMIT };
let hub: HostileHub;
beforeAll(async () => {
  hub = await hostileHub(FILES);
});
afterAll(() => hub.close());

async function cached(name: string, include?: string[]): Promise<string> {
  const cache = folder(name);
  await pullAll({ endpoint: hub.url, cache }, { include });
  return cache;
}

test("a whole snapshot is enough offline, and nobody is asked", async () => {
  const cache = await cached("whole");
  hub.asked.length = 0;
  const { pulled } = await pullAll({ endpoint: hub.url, cache, offline: true });
  expect(pulled.files).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
  expect(hub.asked).toEqual([]);
});

test("a commit whose files are all there needs no network, offline or not", async () => {
  const cache = await cached("commit");
  const { events } = await pullAll({ endpoint: NOWHERE, cache }, {}, AT_COMMIT);
  expect(events.filter(({ kind }) => kind === "unreachable" || kind === "retrying")).toEqual([]);
});

test("a branch falls back on the cache when the Hub does not answer, and says so", async () => {
  const cache = await cached("fallback");
  const { events, pulled } = await pullAll({ endpoint: NOWHERE, cache });
  expect(events.find(({ kind }) => kind === "unreachable")).toMatchObject({
    reason:
      "x/y: 127.0.0.1:64999 cannot be reached after 3 attempts (connection refused); check the network and HF_ENDPOINT",
  });
  expect(pulled.commit).toBe(COMMIT);
});

test("what is not there is named, offline and when the Hub does not answer", async () => {
  const cache = await cached("part", ["*.json"]);
  const offline = await failureOf(pullAll({ endpoint: NOWHERE, cache, offline: true }));
  expect(offline.message).toBe(
    "x/y: the cache lacks 1 of 3 files of commit c0ffee00 (model.safetensors): --offline or HF_HUB_OFFLINE is set; pull it once without",
  );
  const alone = await failureOf(pullAll({ endpoint: NOWHERE, cache }));
  expect(alone.message).toMatch(
    /lacks 1 of 3 files .* \(model\.safetensors\): x\/y: 127\.0\.0\.1:64999 cannot be reached/,
  );
  const { pulled } = await pullAll({ endpoint: NOWHERE, cache, offline: true }, { include: ["*.json"] });
  expect(pulled.files).toEqual(["config.json", "tokenizer.json"]);
});

test("a file that is too short for the listing is missing", async () => {
  const cache = await cached("short");
  const name = tagOf("config.json", FILES["config.json"]);
  await writeFile(`${cache}/models--x--y/blobs/${name}`, "{}");
  const error = await failureOf(pullAll({ endpoint: NOWHERE, cache, offline: true }));
  expect(error.message).toContain("lacks 1 of 3 files of commit c0ffee00 (config.json)");
});

test("a cache without a listing serves what its snapshot has", async () => {
  const cache = await cached("unlisted");
  rmSync(`${cache}/models--x--y/trees`, { recursive: true });
  const access = { endpoint: NOWHERE, cache, offline: true };
  const { pulled } = await pullAll(access, { include: ["config.json", "model.safetensors"] });
  expect(pulled.files).toEqual(["config.json", "model.safetensors"]);
  expect((await pullAll(access)).pulled.files).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
  const some = await pullAll(access, { include: ["*.json"], exclude: ["t*"] });
  expect(some.pulled.files).toEqual(["config.json"]);
  const none = await failureOf(pullAll(access, { include: ["merges.txt"] }));
  expect(none.message).toMatch(
    /^x\/y: the cache \S+ has no file of commit c0ffee00 that matches merges\.txt, only config\.json, model\.safetensors, tokenizer\.json; pull it once while online$/,
  );
});

test("files that can be done without are not missed, with a listing or without", async () => {
  const cache = await cached("optional", ["*.safetensors"]);
  const access = { endpoint: NOWHERE, cache, offline: true };
  const { pulled } = await pullAll(access, { optional: ["*.json"] });
  expect(pulled.files).toEqual(["model.safetensors"]);
  expect((await failureOf(pullAll(access, { optional: ["token*"] }))).message).toContain(
    "lacks 1 of 2 files of commit c0ffee00 (config.json)",
  );
});

test.each([
  ["not json"],
  ['{"format_version": 2, "files": {}}'],
  ['{"format_version": 1, "files": {"../x": {"size": 1, "blob_id": "a"}}}'],
])("a listing that says %j is asked for again", async (text) => {
  const cache = await cached(`listing-${text.length}`);
  await writeFile(`${cache}/models--x--y/trees/${COMMIT}.json`, text);
  hub.asked.length = 0;
  await pullAll({ endpoint: hub.url, cache });
  expect(hub.asked.map(({ path }) => path)).toContain(`/api/models/x/y/tree/${COMMIT}`);
});

test("nothing is known offline of what was never pulled", async () => {
  const error = await failureOf(pullAll({ endpoint: hub.url, cache: folder("never"), offline: true }));
  expect(error.message).toMatch(
    /^x\/y is not in the cache \S+ and --offline or HF_HUB_OFFLINE is set; pull it once without$/,
  );
});

test("an older whole snapshot stays the branch's until the new one is whole", async () => {
  const cache = await cached("older");
  const moved = await hostileHub({ ...FILES, "model.safetensors": bytesOf(200_000, 8) });
  moved.commit = "e".repeat(40);
  moved.fault = (what) => (what === "model.safetensors" ? { status: 404 } : undefined);
  try {
    await failureOf(pullAll({ endpoint: moved.url, cache }));
    const { pulled } = await pullAll({ endpoint: NOWHERE, cache, offline: true });
    expect(pulled.commit).toBe(COMMIT);
  } finally {
    await moved.close();
  }
});

/** A file system of its own at a folder: only who may mount can have one. */
function mounted(at: string, options: string): boolean {
  mkdirSync(at, { recursive: true });
  return process.platform === "linux" && spawnSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", at]).status === 0;
}

const probe = folder("probe");
const mayMount = mounted(probe, "size=64k");
if (mayMount) spawnSync("umount", [probe]);

test.skipIf(!mayMount)(
  "a cache that cannot be written serves what it has, and says so of what it has not",
  async () => {
    const cache = folder("read-only");
    mounted(cache, "size=4m");
    try {
      await pullAll({ endpoint: hub.url, cache }, { include: ["*.json"] });
      expect(spawnSync("mount", ["-o", "remount,ro", cache]).status).toBe(0);
      const { pulled } = await pullAll({ endpoint: hub.url, cache }, { include: ["*.json"] });
      expect((await filesIn(pulled.folder)).size).toBe(2);
      const error = await failureOf(pullAll({ endpoint: hub.url, cache }));
      expect(error.message).toMatch(/cannot be written: it is read-only; set HF_HOME to a writable folder$/);
      expect(error.code).toBe("no-access");
    } finally {
      spawnSync("umount", [cache]);
    }
  },
);

test.skipIf(!mayMount)("a disk without room is known before a byte is fetched", async () => {
  const cache = folder("small");
  mounted(cache, "size=128k");
  try {
    hub.asked.length = 0;
    const error = await failureOf(pullAll({ endpoint: hub.url, cache }));
    expect(error.message).toMatch(
      /^x\/y needs 205300 more bytes, but \S+ has \d+ free; free some space, or set HF_HOME to another disk$/,
    );
    expect(hub.asked.some(({ path }) => path.includes("/resolve/"))).toBe(false);
  } finally {
    spawnSync("umount", [cache]);
  }
});

test.skipIf(!mayMount)("a disk that fills up meanwhile is one line, and no file is taken for whole", async () => {
  const cache = folder("filling");
  mounted(cache, "size=240k");
  try {
    // Somebody else takes the room once the file is on its way.
    hub.fault = (what) => {
      if (what !== "model.safetensors") return undefined;
      if (!existsSync(`${cache}/other`)) writeFileSync(`${cache}/other`, new Uint8Array(120_000));
      return { slow: 15 };
    };
    const error = await failureOf(pullAll({ endpoint: hub.url, cache }));
    expect(error.code).toBe("no-space");
    expect(error.message).toMatch(/is full; free some space and pull again: downloaded bytes are kept$/);
    const offline = await failureOf(pullAll({ endpoint: NOWHERE, cache, offline: true }));
    expect(offline.message).toContain("model.safetensors");
  } finally {
    hub.fault = () => undefined;
    spawnSync("umount", [cache]);
  }
});
