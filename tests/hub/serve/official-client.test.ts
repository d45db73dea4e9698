// The official client against a local Hub, both ways: what it sends is what a Hub must understand.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import path from "node:path";
import {
  checkRepoAccess,
  commit,
  countCommits,
  createBranch,
  createRepo,
  datasetInfo,
  deleteBranch,
  deleteFiles,
  deleteRepo,
  downloadFile,
  fileDownloadInfo,
  fileExists,
  HubApiError,
  listCommits,
  listDatasets,
  listFiles,
  listModels,
  modelInfo,
  pathsInfo,
  repoExists,
  snapshotDownload,
  uploadFile,
  uploadFilesWithProgress,
  whoAmI,
} from "@huggingface/hub";
import { bytesOf, filesIn, GUEST, lay, newFolder, READER, sha256, TOKEN, testHub } from "./serving.ts";

const hub = await testHub({ multipartFrom: 100_000, partSize: 40_000 });
const hubUrl = hub.url;
const as = { hubUrl, accessToken: TOKEN };
const big = bytesOf(333_333, 1);
const small = bytesOf(1000, 2);

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function refusal(work: Promise<unknown>): Promise<HubApiError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof HubApiError)) throw new Error(`no refusal: ${error}`);
  return error;
}

const content = async (blob: Blob | null) => new Uint8Array(await (blob as Blob).arrayBuffer());

test("a repository is created, filled, listed, read and found in the plain folder", async () => {
  const repo = "me/model";
  expect(await createRepo({ repo, ...as })).toMatchObject({ repoUrl: `${hubUrl}/me/model` });
  expect((await refusal(createRepo({ repo, ...as }))).statusCode).toBe(409);
  const files = {
    "config.json": "{}\n",
    "model.safetensors": big,
    "sub/weights.bin": small,
    "empty.txt": "",
    "names/ä b+c.txt": "odd name",
  };
  const upload = uploadFilesWithProgress({
    repo,
    ...as,
    commitTitle: "First",
    files: Object.entries(files).map(([name, data]) => ({ path: name, content: new Blob([data]) })),
  });
  const progress: string[] = [];
  let step = await upload.next();
  for (; !step.done; step = await upload.next()) {
    if (step.value.event === "fileProgress" && step.value.state === "uploading" && step.value.progress === 1) {
      progress.push(step.value.path);
    }
  }
  // Both large files go by LFS: the long one in parts.
  expect(progress).toContain("model.safetensors");
  expect(progress).toContain("sub/weights.bin");
  const puts = hub.events.filter((event) => event.kind === "request" && event.method === "PUT");
  expect(puts.length).toBe(Math.ceil(big.length / 40_000) + 1);

  const listed = await all(listFiles({ repo, ...as, recursive: true, expand: true }));
  expect(listed.map((entry) => `${entry.type} ${entry.path} ${entry.size}`)).toEqual([
    "file config.json 3",
    "file empty.txt 0",
    "file model.safetensors 333333",
    "directory names 0",
    "file names/ä b+c.txt 8",
    "directory sub 0",
    "file sub/weights.bin 1000",
  ]);
  expect(listed.every((entry) => entry.lastCommit?.title === "First")).toBe(true);
  expect(listed[2]?.lfs).toEqual({ oid: sha256(big), size: big.length, pointerSize: 131 });
  expect(await all(listFiles({ repo, ...as, path: "sub" }))).toHaveLength(1);

  for (const [name, data] of Object.entries(files)) {
    const blob = await downloadFile({ repo, path: name, ...as });
    expect(await content(blob)).toEqual(new Uint8Array(Buffer.from(data as Uint8Array)));
  }
  const part = (await downloadFile({ repo, path: "model.safetensors", ...as }))?.slice(5, 105) ?? null;
  expect(await content(part)).toEqual(big.slice(5, 105));
  expect(await fileDownloadInfo({ repo, path: "model.safetensors", ...as })).toMatchObject({
    size: big.length,
    etag: `"${sha256(big)}"`,
  });
  expect(await downloadFile({ repo, path: "none.txt", ...as })).toBeNull();
  expect(await fileExists({ repo, path: "config.json", ...as })).toBe(true);
  expect(await fileExists({ repo, path: "none", ...as })).toBe(false);

  const laid = Object.entries(files).map(([name, data]) => [name, Buffer.from(data as Uint8Array).toString("latin1")]);
  expect(filesIn(path.join(hub.folder, "models/me/model"))).toEqual(Object.fromEntries(laid));
});

test("the same content is not uploaded twice", async () => {
  const before = hub.events.length;
  await uploadFile({ repo: "me/model", ...as, file: { path: "copy.safetensors", content: new Blob([big]) } });
  const puts = hub.events.slice(before).filter((event) => event.kind === "request" && event.method === "PUT");
  expect(puts).toEqual([]);
  expect(await content(await downloadFile({ repo: "me/model", path: "copy.safetensors", ...as }))).toEqual(big);
});

test("history stays readable by commit, and is listed from the latest on, a page at a time", async () => {
  const repo = { type: "dataset" as const, name: "me/history" };
  await createRepo({ repo, ...as, license: "mit" });
  const commits: string[] = [];
  for (let i = 0; i < 5; i++) {
    const made = await uploadFile({
      repo,
      ...as,
      commitTitle: `Step ${i}`,
      file: { path: "a.txt", content: new Blob([`${i}`]) },
    });
    commits.push(made?.commit.oid ?? "");
  }
  const removed = await deleteFiles({ repo, ...as, paths: ["a.txt"], commitTitle: "Gone" });
  expect(await downloadFile({ repo, path: "a.txt", ...as })).toBeNull();
  for (const [i, revision] of commits.entries()) {
    expect(await (await downloadFile({ repo, path: "a.txt", revision, ...as }))?.text()).toBe(`${i}`);
  }
  const listed = await all(listCommits({ repo, ...as, batchSize: 2 }));
  expect(listed.map(({ title }) => title)).toEqual([
    "Gone",
    "Step 4",
    "Step 3",
    "Step 2",
    "Step 1",
    "Step 0",
    "First files",
    "Files of the folder",
  ]);
  expect(listed[0]?.oid).toBe(removed?.commit.oid as string);
  expect(listed[1]?.authors[0]?.username).toBe("local");
  expect(await countCommits({ repo, ...as })).toBe(8);
  expect(await countCommits({ repo, revision: commits[1] as string, ...as })).toBe(4);
  const [info] = await pathsInfo({
    repo,
    paths: ["a.txt", "none"],
    revision: commits[3] as string,
    expand: true,
    ...as,
  });
  expect(info).toMatchObject({ path: "a.txt", size: 1, lastCommit: { title: "Step 3", id: commits[3] } });
});

test("branches grow apart, and are removed", async () => {
  const repo = "me/branches";
  await createRepo({ repo, ...as, files: [{ path: "a.txt", content: new Blob(["main"]) }] });
  await createBranch({ repo, branch: "dev/one", ...as });
  await createBranch({ repo, branch: "bare", empty: true, ...as });
  expect((await refusal(createBranch({ repo, branch: "dev/one", ...as }))).statusCode).toBe(409);
  await uploadFile({ repo, branch: "dev/one", ...as, file: { path: "b.bin", content: new Blob([small]) } });
  const names = async (revision: string) =>
    (await all(listFiles({ repo, revision, ...as }))).map((entry) => entry.path);
  expect(await names("dev/one")).toEqual(["a.txt", "b.bin"]);
  expect(await names("main")).toEqual(["a.txt"]);
  expect(await names("bare")).toEqual([]);
  expect(Object.keys(filesIn(path.join(hub.folder, "models/me/branches")))).toEqual(["a.txt"]);
  expect(await content(await downloadFile({ repo, path: "b.bin", revision: "dev/one", ...as }))).toEqual(small);
  const { branches } = await hub.get<{ branches: { name: string; targetCommit: string }[] }>(
    "/api/models/me/branches/refs",
  );
  expect(branches.map(({ name }) => name)).toEqual(["main", "bare", "dev/one"]);
  const tip = branches[2]?.targetCommit as string;
  await deleteBranch({ repo, branch: "dev/one", ...as });
  const gone = await refusal(all(listFiles({ repo, revision: "dev/one", ...as })));
  expect(gone.message).toContain('me/branches has no branch, tag or commit "dev"');
  expect(await names(tip)).toEqual(["a.txt", "b.bin"]);
  expect((await refusal(deleteBranch({ repo, branch: "main", ...as }))).statusCode).toBe(403);
});

test("of two commits on the same parent one wins and the other is told", async () => {
  const repo = "me/race";
  await createRepo({ repo, ...as });
  const { sha } = await modelInfo({ name: repo, additionalFields: ["sha"], ...as });
  const attempt = (i: number) =>
    commit({
      repo,
      ...as,
      title: `${i}`,
      parentCommit: sha,
      operations: [{ operation: "addOrUpdate", path: "a.txt", content: new Blob([`${i}`]) }],
    }).then(
      () => "won",
      (error: HubApiError) => error.statusCode,
    );
  const outcomes = await Promise.all([1, 2, 3, 4, 5].map(attempt));
  expect(outcomes.filter((outcome) => outcome === "won")).toHaveLength(1);
  expect(outcomes.filter((outcome) => outcome === 412)).toHaveLength(4);
  expect(await countCommits({ repo, ...as })).toBe(2);
});

test("commits that say no parent all happen, one after the other", async () => {
  const repo = "me/crowd";
  await createRepo({ repo, ...as });
  const add = (i: number) => uploadFile({ repo, ...as, file: { path: `${i}.txt`, content: new Blob([`${i}`]) } });
  await Promise.all(Array.from({ length: 12 }, (_, i) => add(i)));
  expect(await all(listFiles({ repo, ...as }))).toHaveLength(12);
  expect(Object.keys(filesIn(path.join(hub.folder, "models/me/crowd")))).toHaveLength(12);
  expect(await countCommits({ repo, ...as })).toBe(13);
});

test("what is private exists for those who may see it alone", async () => {
  const repo = "me/secret";
  await createRepo({ repo, private: true, ...as, files: [{ path: "a.txt", content: new Blob(["secret"]) }] });
  const guest = { hubUrl, accessToken: GUEST };
  const reader = { hubUrl, accessToken: READER };
  expect((await refusal(checkRepoAccess({ repo, hubUrl }))).statusCode).toBe(401);
  expect((await refusal(checkRepoAccess({ repo, ...guest }))).statusCode).toBe(404);
  expect(await repoExists({ repo, hubUrl })).toBe(false);
  expect(await repoExists({ repo, ...reader })).toBe(true);
  expect((await refusal(downloadFile({ repo, path: "a.txt", ...guest }))).statusCode).toBe(404);
  expect(await (await downloadFile({ repo, path: "a.txt", ...reader }))?.text()).toBe("secret");
  const names = async (params: object) =>
    (await all(listModels({ search: { owner: "me" }, ...params }))).map(({ name }) => name);
  expect(await names({ hubUrl })).not.toContain(repo);
  expect(await names(guest)).not.toContain(repo);
  expect(await names(reader)).toContain(repo);
  expect(
    (await refusal(uploadFile({ repo, ...reader, file: { path: "b", content: new Blob(["b"]) } }))).statusCode,
  ).toBe(403);
});

test("of what is gated all is told but the contents", async () => {
  const repo = "me/gated";
  await createRepo({ repo, ...as, files: [{ path: "a.txt", content: new Blob(["gated"]) }] });
  const settings = await hub.fetch("/api/models/me/gated/settings", { method: "PUT", body: '{"gated": "manual"}' });
  expect(await settings.json()).toEqual({ private: false, gated: "manual" });
  const guest = { hubUrl, accessToken: GUEST };
  expect(await modelInfo({ name: repo, hubUrl })).toMatchObject({ gated: "manual", private: false });
  expect(await all(listFiles({ repo, ...guest }))).toHaveLength(1);
  for (const [params, status] of [
    [{ hubUrl }, 401],
    [guest, 403],
  ] as const) {
    const error = await refusal(downloadFile({ repo, path: "a.txt", ...params }));
    expect(error.statusCode).toBe(status);
    expect(error.message).toContain("access to me/gated is restricted");
  }
  expect(await (await downloadFile({ repo, path: "a.txt", hubUrl, accessToken: READER }))?.text()).toBe("gated");
});

test("tokens: who one is, and that a wrong one is refused even where none is needed", async () => {
  expect(await whoAmI(as)).toMatchObject({ name: "local", type: "user", auth: { accessToken: { role: "write" } } });
  expect(await whoAmI({ hubUrl, accessToken: GUEST })).toMatchObject({ name: "guest" });
  const wrong = await refusal(modelInfo({ name: "me/model", hubUrl, accessToken: "hf_wrong" }));
  expect(wrong.statusCode).toBe(401);
  expect(wrong.message).toContain("this Hub does not know that token");
  expect((await refusal(createRepo({ repo: "me/no", hubUrl, accessToken: GUEST }))).statusCode).toBe(403);
  expect((await refusal(createRepo({ repo: "me/no", hubUrl, accessToken: "" }))).statusCode).toBe(401);
  expect(await repoExists({ repo: "me/no", ...as })).toBe(false);
});

test("lists know owner, search, tags and limit", async () => {
  const card = (head: string) => ({ "README.md": `---\n${head}\n---\n# Card\n` });
  for (let i = 0; i < 7; i++)
    lay(path.join(hub.folder, `datasets/lists/set-${i}`), card(`tags: [even-${i % 2 === 0}]`));
  lay(path.join(hub.folder, "models/lists/gpt"), card("pipeline_tag: text-generation\nlicense: mit"));
  const sets = async (params: object) => (await all(listDatasets({ hubUrl, ...params }))).map(({ name }) => name);
  expect(await sets({ search: { owner: "lists" } })).toHaveLength(7);
  expect(await sets({ search: { owner: "lists" }, limit: 3 })).toHaveLength(3);
  expect(await sets({ search: { query: "SET-3" } })).toEqual(["lists/set-3"]);
  expect(await sets({ search: { owner: "lists", tags: ["even-true"] } })).toHaveLength(4);
  expect(await all(listModels({ hubUrl, search: { task: "text-generation" } }))).toMatchObject([
    { name: "lists/gpt", task: "text-generation" },
  ]);
  const first = await fetch(`${hubUrl}/api/datasets?author=lists&limit=3`);
  const next = /<([^>]+)>; rel="next"/.exec(first.headers.get("link") ?? "")?.[1] as string;
  expect(((await (await fetch(next)).json()) as { id: string }[]).map(({ id }) => id)).toEqual(
    [3, 4, 5].map((i) => `lists/set-${i}`),
  );
});

test("a snapshot is downloaded into the cache layout whole", async () => {
  const cacheDir = newFolder();
  const folder = await snapshotDownload({ repo: "me/model", cacheDir, ...as });
  const { sha } = await modelInfo({ name: "me/model", additionalFields: ["sha"], ...as });
  expect(folder).toBe(path.join(cacheDir, "models--me--model/snapshots", sha));
  expect(new Uint8Array(readFileSync(path.join(folder, "model.safetensors")))).toEqual(big);
  expect(readFileSync(path.join(folder, "config.json"), "utf8")).toBe("{}\n");
});

test("a removed repository is gone with its history, and its name is free", async () => {
  const repo = "me/short-lived";
  await createRepo({ repo, ...as, files: [{ path: "a.txt", content: new Blob(["one"]) }] });
  const { sha } = await modelInfo({ name: repo, additionalFields: ["sha"], ...as });
  await deleteRepo({ repo, ...as });
  expect(await repoExists({ repo, ...as })).toBe(false);
  expect((await refusal(deleteRepo({ repo, ...as }))).statusCode).toBe(404);
  await createRepo({ repo, ...as });
  expect(await all(listFiles({ repo, ...as }))).toEqual([]);
  expect((await refusal(modelInfo({ name: repo, revision: sha, ...as }))).statusCode).toBe(404);
  await expect(datasetInfo({ name: repo, ...as })).rejects.toThrow("there is no repository");
});
