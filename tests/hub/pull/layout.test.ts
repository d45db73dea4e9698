// What a pull leaves in the cache: the layout of Python's huggingface_hub, stated here as facts about names, links and
// bytes; what the patterns choose; what the events add up to.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { bytesOf, COMMIT, gitHash, type HostileHub, hostileHub, sha256 } from "../hostile-server.ts";
import { temporaryFolder } from "../temporary.ts";
import { failureOf, filesIn, pullAll, REPO } from "./pulling.ts";

const folder = temporaryFolder();
const WEIGHTS = bytesOf(700_000);
const FILES = {
  "config.json": bytesOf(300, 2),
  "model.safetensors": WEIGHTS,
  "copy/model.safetensors": WEIGHTS,
  "data/train/a b#?.txt": bytesOf(50, 3),
  empty: new Uint8Array(0),
};
let hub: HostileHub;
beforeAll(async () => {
  hub = await hostileHub(FILES);
});
afterAll(() => hub.close());

test("blobs are called by their SHA-256 if large and by git's hash if small", async () => {
  const cache = folder("names");
  await pullAll({ endpoint: hub.url, cache });
  const expected = [
    sha256(WEIGHTS),
    ...["config.json", "data/train/a b#?.txt", "empty"].map((name) => gitHash(FILES[name as "empty"])),
  ];
  expect(readdirSync(`${cache}/models--x--y/blobs`).sort()).toEqual(expected.sort());
});

test("a snapshot is relative links to blobs, one a file, that give its bytes", async () => {
  const cache = folder("links");
  const { pulled } = await pullAll({ endpoint: hub.url, cache });
  expect(pulled.folder).toBe(`${cache}/models--x--y/snapshots/${COMMIT}`);
  expect(pulled.files).toEqual(Object.keys(FILES).sort());
  expect(readlinkSync(`${pulled.folder}/config.json`)).toBe(`../../blobs/${gitHash(FILES["config.json"])}`);
  expect(readlinkSync(`${pulled.folder}/copy/model.safetensors`)).toBe(`../../../blobs/${sha256(WEIGHTS)}`);
  const contents = await filesIn(pulled.folder);
  for (const [name, bytes] of Object.entries(FILES))
    expect(Buffer.compare(contents.get(name) as Buffer, bytes)).toBe(0);
});

test("the branch's commit is in refs, without a newline, and the listing in trees, as Python's client writes them", async () => {
  const cache = folder("refs");
  await pullAll({ endpoint: hub.url, cache }, {}, { ...REPO, revision: "refs/pr/1" });
  const repo = `${cache}/models--x--y`;
  expect(readFileSync(`${repo}/refs/refs/pr/1`, "utf8")).toBe(COMMIT);
  const { format_version, files } = JSON.parse(readFileSync(`${repo}/trees/${COMMIT}.json`, "utf8"));
  expect(format_version).toBe(1);
  expect(files["config.json"]).toEqual({ size: 300, blob_id: gitHash(FILES["config.json"]) });
  expect(files["model.safetensors"]).toEqual({
    size: 700_000,
    blob_id: gitHash(WEIGHTS),
    lfs_sha256: sha256(WEIGHTS),
    lfs_size: 700_000,
  });
  expect(readdirSync(repo).sort()).toEqual(["blobs", "refs", "snapshots", "trees"]);
  expect(readdirSync(`${cache}/.locks/models--x--y`)).toContain(`${sha256(WEIGHTS)}.lock`);
});

test("no blob is fetched twice, and a second pull asks for the branch's commit alone", async () => {
  const cache = folder("once");
  const { events } = await pullAll({ endpoint: hub.url, cache });
  const asked = hub.asked.filter(({ path }) => path.endsWith("model.safetensors")).length;
  expect(events.filter((event) => event.kind === "file" && event.from === "hub")).toHaveLength(5);
  hub.asked.length = 0;
  const again = await pullAll({ endpoint: hub.url, cache });
  expect(asked).toBeGreaterThan(0);
  expect(hub.asked.map(({ path }) => path)).toEqual(["/api/models/x/y/revision/main"]);
  expect(again.events.filter((event) => event.kind === "file" && event.from === "cache")).toHaveLength(5);
});

test("progress adds up to the bytes that were not in the cache", async () => {
  const { events } = await pullAll({ endpoint: hub.url, cache: folder("sums") });
  const [resolved] = events.filter((event) => event.kind === "resolved");
  expect(resolved).toMatchObject({ files: 5, bytes: 1_400_350, cachedFiles: 0, cachedBytes: 0 });
  const bytes = events.reduce((sum, event) => sum + (event.kind === "progress" ? event.bytes : 0), 0);
  expect(bytes).toBe(700_350);
});

test("include and exclude choose files as Python's patterns do", async () => {
  const pulledBy = async (include?: string[], exclude?: string[]) =>
    (await pullAll({ endpoint: hub.url, cache: folder("patterns") }, { include, exclude })).pulled.files;
  expect(await pulledBy(["*.safetensors"])).toEqual(["copy/model.safetensors", "model.safetensors"]);
  expect(await pulledBy(["data/"])).toEqual(["data/train/a b#?.txt"]);
  expect(await pulledBy(["[!m]*"], ["copy/*", "d*"])).toEqual(["config.json", "empty"]);
  expect(await pulledBy(undefined, ["*model*", "*.txt"])).toEqual(["config.json", "empty"]);
});

test("patterns that let nothing through are an error that names what there is", async () => {
  const error = await failureOf(pullAll({ endpoint: hub.url, cache: folder("nothing") }, { include: ["*.bin"] }));
  expect(error.message).toMatch(/^x\/y has no file that matches \*\.bin; it has config\.json, .*empty$/);
});

test("a data set has its own folder and its own address", async () => {
  const cache = folder("dataset");
  const repo = { type: "dataset", id: "x/y", revision: "main" } as const;
  hub.asked.length = 0;
  const { pulled } = await pullAll({ endpoint: hub.url, cache }, { include: ["empty", "config.json"] }, repo);
  expect(pulled.folder).toBe(`${cache}/datasets--x--y/snapshots/${COMMIT}`);
  expect(hub.asked.map(({ path }) => path)).toContain(`/datasets/x/y/resolve/${COMMIT}/config.json`);
});

test("a blob of the wrong length and a link that leads nowhere are made good", async () => {
  const cache = folder("damaged");
  const { pulled } = await pullAll({ endpoint: hub.url, cache });
  await writeFile(`${cache}/models--x--y/blobs/${sha256(WEIGHTS)}`, "short");
  await rm(`${cache}/models--x--y/blobs/${gitHash(FILES["config.json"])}`);
  const again = await pullAll({ endpoint: hub.url, cache });
  expect(Buffer.compare(await readFile(`${pulled.folder}/model.safetensors`), WEIGHTS)).toBe(0);
  expect(Buffer.compare(await readFile(`${pulled.folder}/config.json`), FILES["config.json"])).toBe(0);
  expect(again.pulled.folder).toBe(pulled.folder);
});

test("a branch that moves gets a second snapshot, which shares what did not change", async () => {
  const moving = await hostileHub({ a: bytesOf(10), b: bytesOf(20, 2) });
  try {
    const cache = folder("moving");
    const first = await pullAll({ endpoint: moving.url, cache });
    moving.commit = "d".repeat(40);
    moving.files.set("b", bytesOf(20, 3));
    const second = await pullAll({ endpoint: moving.url, cache });
    expect(second.pulled.folder).not.toBe(first.pulled.folder);
    expect(readFileSync(`${cache}/models--x--y/refs/main`, "utf8")).toBe("d".repeat(40));
    expect(readdirSync(`${cache}/models--x--y/blobs`)).toHaveLength(3);
    expect(Buffer.compare(readFileSync(`${first.pulled.folder}/b`), bytesOf(20, 2))).toBe(0);
    expect(Buffer.compare(readFileSync(`${second.pulled.folder}/b`), bytesOf(20, 3))).toBe(0);
    expect(lstatSync(`${second.pulled.folder}/a`).isSymbolicLink()).toBe(true);
  } finally {
    await moving.close();
  }
});
