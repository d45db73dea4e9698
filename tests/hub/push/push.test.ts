// Pushes to the local Hub, small files and large ones, whole and in parts: what arrives is what was in the folder, in one
// commit, and nothing is sent that is there already. The Hub's own answers are checked by pulling from it.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, symlinkSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { RepoName } from "../../../hub/access/repository.ts";
import { type PushEvent, type PushOptions, push } from "../../../hub/push/index.ts";
import { type ServedHub, serveHub } from "../../../hub/serve/index.ts";
import { bytesOf } from "../hostile-server.ts";
import { failureOf, filesIn, HASTY, pullAll } from "../pull/pulling.ts";
import { temporaryFolder } from "../temporary.ts";

const folder = temporaryFolder();
const TOKEN = "hf_tokenofthepushtests";
const FILES: Record<string, Uint8Array> = {
  "README.md": new TextEncoder().encode("# A model\n\nünïcode\n"),
  "config.json": bytesOf(700, 2),
  "model.safetensors": bytesOf(1_500_000, 3),
  "onnx/deep/er/still/more/even/model.onnx": bytesOf(20_000, 4),
  "a b#?%.txt": bytesOf(10, 5),
  empty: new Uint8Array(0),
};
let hub: ServedHub;
const requests: string[] = [];
beforeAll(async () => {
  mkdirSync(folder("served"));
  hub = await serveHub({
    folder: folder("served"),
    token: TOKEN,
    log: (event) => event.kind === "request" && requests.push(`${event.method} ${event.path}`),
  });
});
afterAll(() => hub.close());

async function write(name: string, files = FILES): Promise<string> {
  for (const [path, bytes] of Object.entries(files)) {
    mkdirSync(dirname(folder(name, path)), { recursive: true });
    await writeFile(folder(name, path), bytes);
  }
  return folder(name);
}

const access = () => ({ endpoint: hub.url, token: TOKEN, cache: folder("cache") });
const named = (id: string, revision = "main", type: RepoName["type"] = "model"): RepoName => ({ type, id, revision });

async function pushAll(from: string, repo: RepoName, options: PushOptions = {}): Promise<PushEvent[]> {
  const events: PushEvent[] = [];
  for await (const event of push(from, repo, access(), { patience: HASTY, ...options })) events.push(event);
  return events;
}

const pushedOf = (events: PushEvent[]) => {
  const last = events.at(-1);
  if (last?.kind !== "pushed") throw new Error(`the last event is ${last?.kind}`);
  return last;
};

/** Pulled into a cache of its own, so that every byte comes from the Hub. */
async function contentsOf(repo: RepoName): Promise<Map<string, Buffer>> {
  const cache = folder(`cache-${Math.random()}`);
  const { pulled } = await pullAll({ ...access(), cache }, {}, repo);
  return filesIn(pulled.folder);
}

async function expectContents(repo: RepoName, files: Record<string, Uint8Array>): Promise<void> {
  const contents = await contentsOf(repo);
  contents.delete(".gitattributes");
  expect([...contents.keys()].sort()).toEqual(Object.keys(files).sort());
  for (const [path, bytes] of Object.entries(files)) {
    expect([path, Buffer.compare(contents.get(path) as Buffer, bytes)]).toEqual([path, 0]);
  }
}

test.each([["model"], ["dataset"]] as const)("a %s goes up and comes down the same", async (type) => {
  const repo = named("me/round-trip", "main", type);
  const events = await pushAll(await write("round-trip"), repo, { create: true });
  const { url, commit, files } = pushedOf(events);
  expect(url).toBe(`${hub.url}/${type === "model" ? "" : "datasets/"}me/round-trip`);
  expect(files).toEqual(Object.keys(FILES).sort());
  // On a busy machine a request may be tried again before it is answered.
  expect(events.find(({ kind }) => kind !== "retrying")).toEqual({ kind: "created", url });
  await expectContents(repo, FILES);
  await expectContents({ ...repo, revision: commit }, FILES);
});

test("what is sent adds up to the files, each of which ends whole", async () => {
  // Content of its own: what the Hub has from another test is not sent.
  const files = {
    "model.safetensors": bytesOf(1_200_000, 33),
    "model.onnx": bytesOf(900, 34),
    "a.json": bytesOf(50, 35),
  };
  const events = await pushAll(await write("sums", files), named("me/sums"), { create: true });
  const sum = events.reduce((total, event) => total + (event.kind === "uploading" ? event.bytes : 0), 0);
  expect(sum).toBe(1_200_950);
  for (const [file, { length }] of Object.entries(files)) {
    const last = events.findLast((event) => event.kind === "uploading" && event.file === file);
    expect(last).toMatchObject({ done: length, size: length });
  }
  expect(events.filter(({ kind }) => kind === "committing")).toHaveLength(1);
});

test("all files go in one commit, and a repository that has them all gets none", async () => {
  const from = await write("one-commit");
  const first = pushedOf(await pushAll(from, named("me/one"), { create: true }));
  requests.length = 0;
  const again = pushedOf(await pushAll(from, named("me/one")));
  expect(again).toEqual({ ...first, files: [] });
  expect(requests.filter((line) => !line.startsWith("GET"))).toEqual([]);
});

test("only what changed is sent, also where the length is the same", async () => {
  const from = await write("changed");
  await pushAll(from, named("me/changed"), { create: true });
  const changed = { ...FILES, "config.json": bytesOf(700, 77), "model.safetensors": bytesOf(1_500_000, 78) };
  await write("changed", changed);
  const events = await pushAll(from, named("me/changed"));
  expect(pushedOf(events).files).toEqual(["config.json", "model.safetensors"]);
  expect(events.find(({ kind }) => kind === "listed")).toEqual({
    kind: "listed",
    files: 6,
    bytes: 1_520_000 + 700 + 10 + (FILES["README.md"]?.length ?? 0),
    unchanged: 4,
    unchangedBytes: 20_010 + (FILES["README.md"]?.length ?? 0),
  });
  await expectContents(named("me/changed"), changed);
});

test("content that the Hub knows from another place is not sent again", async () => {
  const from = await write("moved");
  await pushAll(from, named("me/moved"), { create: true });
  await write("moved", { "renamed.safetensors": FILES["model.safetensors"] as Uint8Array });
  await rm(folder("moved", "model.safetensors"));
  const events = await pushAll(from, named("me/moved"));
  expect(events.filter(({ kind }) => kind === "present")).toEqual([
    { kind: "present", file: "renamed.safetensors", size: 1_500_000 },
  ]);
  expect(events.some((event) => event.kind === "uploading" && event.file.endsWith("safetensors"))).toBe(false);
});

test("what never belongs in a repository stays here, and patterns choose among the rest", async () => {
  const junk = [
    ".git/config",
    ".DS_Store",
    "x/.DS_Store",
    ".model.safetensors.ab12.tmp",
    "checkpoints/step-1/a",
    "checkpoint-20/a",
    "__pycache__/a.pyc",
    "a.incomplete",
    ".cache/huggingface/x",
  ];
  const files = { ...FILES, ...Object.fromEntries(junk.map((path) => [path, bytesOf(3)])) };
  const from = await write("junk", files);
  expect(pushedOf(await pushAll(from, named("me/junk"), { create: true })).files).toEqual(Object.keys(FILES).sort());
  const some = { create: true, include: ["*.json", "*.md", "onnx/"], exclude: ["*.md"] };
  expect(pushedOf(await pushAll(from, named("me/some"), some)).files).toEqual([
    "config.json",
    "onnx/deep/er/still/more/even/model.onnx",
  ]);
});

test("a snapshot of the cache, all links, can be pushed on", async () => {
  await pushAll(await write("links"), named("me/links"), { create: true });
  const { pulled } = await pullAll(access(), {}, named("me/links"));
  await pushAll(pulled.folder, named("me/copy"), { create: true });
  await expectContents(named("me/copy"), FILES);
});

test("a link in a circle is an error, not a loop", async () => {
  const from = await write("circle");
  symlinkSync("..", folder("circle", "onnx", "up"));
  const error = await failureOf(pushAll(from, named("me/circle"), { create: true }) as never);
  expect(error.message).toMatch(/onnx\/up is a link to one of its parent folders$/);
});

test("a branch is made if that is wanted, and the main one stays as it was", async () => {
  const from = await write("branch");
  await pushAll(from, named("me/boughs"), { create: true });
  await write("branch", { "config.json": bytesOf(5, 6) });
  const error = await failureOf(pushAll(from, named("me/boughs", "trial")) as never);
  expect(error.message).toMatch(/^me\/boughs has no revision "trial"; .*; --create makes the branch$/);
  const pushed = pushedOf(
    await pushAll(from, named("me/boughs"), { revision: "trial", create: true, message: "Half" }),
  );
  expect(pushed.files).toEqual(["config.json"]);
  await expectContents(named("me/boughs", "trial"), { ...FILES, "config.json": bytesOf(5, 6) });
  await expectContents(named("me/boughs"), FILES);
  const log = await fetch(`${hub.url}/api/models/me/boughs/commits/trial`);
  expect(((await log.json()) as { title: string }[])[0]?.title).toBe("Half");
});

test("a private repository is nobody else's", async () => {
  await pushAll(await write("private"), named("me/private"), { create: true, private: true });
  const error = await failureOf(pullAll({ endpoint: hub.url, cache: folder("stranger") }, {}, named("me/private")));
  expect(error.message).toMatch(/has no model "me\/private" that is public; check the name, or set HF_TOKEN/);
  await expectContents(named("me/private"), FILES);
});

test("bad pushes are one line each", async () => {
  const from = await write("bad");
  mkdirSync(folder("hollow"));
  const failure = async (folder: string, repo: RepoName, change: object = {}, options: PushOptions = {}) => {
    const events = push(folder, repo, { ...access(), ...change }, { patience: HASTY, ...options });
    return (await failureOf(Array.fromAsync(events) as never)).message;
  };
  expect(await failure(from, named("me/absent"))).toMatch(
    /has no model "me\/absent" that this token may see; .*; --create makes it$/,
  );
  expect(await failure(from, named("bare"), {}, { create: true })).toMatch(
    /"bare" cannot be created: it needs an owner/,
  );
  expect(await failure(from, named("me/x"), { token: undefined })).toBe(
    "me/x cannot be pushed without a token; set HF_TOKEN to one of its tokens",
  );
  expect(await failure(from, named("me/x"), { token: "hf_wrongwrong" })).toMatch(/does not know this token/);
  expect(await failure(from, named("me/x"), { offline: true })).toMatch(/cannot be pushed while --offline/);
  expect(await failure(folder("hollow"), named("me/x"))).toMatch(/hollow has no file; there is nothing to push$/);
  expect(await failure(from, named("me/x"), {}, { include: ["*.bin"] })).toMatch(
    /has no file that matches \*\.bin; there is nothing to push$/,
  );
  expect(await failure(folder("absent"), named("me/x"))).toMatch(/absent cannot be pushed: no such file$/);
});
