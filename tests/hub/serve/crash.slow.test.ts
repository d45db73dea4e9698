// Servers and clients killed with SIGKILL at random moments of a push. Whatever the moment, a branch is at the old commit
// or at the new one, whole; the folder follows; and the next try gets through.

import { afterAll, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { createRepo, downloadFile, listFiles, modelInfo, uploadFiles } from "@huggingface/hub";
import { bytesOf, filesIn, lay, newFolder, TOKEN } from "./serving.ts";

const SCRIPTS = import.meta.dir;
const repo = "me/m";
const ROUNDS = 8;

async function startServer(folder: string, port = "0") {
  const child = Bun.spawn([process.execPath, path.join(SCRIPTS, "serve-process.ts"), folder, TOKEN, port], {
    stdout: "pipe",
    stderr: "inherit",
  });
  afterAll(() => child.kill("SIGKILL"));
  const reader = child.stdout.getReader();
  const line = new TextDecoder().decode((await reader.read()).value).trim();
  const kill = async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
  return { hubUrl: line, kill };
}

/** Files of a version: some change, some stay, some move from file to folder, some go. */
function version(number: number): Record<string, Uint8Array<ArrayBuffer>> {
  const files: Record<string, Uint8Array<ArrayBuffer>> = {
    "weights.safetensors": bytesOf(150_000, 100 + number),
    "same.bin": bytesOf(30_000, 1),
    "config.json": new Uint8Array(Buffer.from(JSON.stringify({ number }))),
  };
  for (let i = 0; i < 8; i++) files[`many/${i}.txt`] = new Uint8Array(Buffer.from(`${number} ${i}`));
  files[number % 2 ? "odd.txt" : "even/file.txt"] = new Uint8Array([number]);
  return files;
}

async function served(as: { hubUrl: string; accessToken: string }): Promise<Record<string, string>> {
  const { sha } = await modelInfo({ name: repo, additionalFields: ["sha"], ...as });
  const files: Record<string, string> = {};
  for await (const entry of listFiles({ repo, revision: sha, recursive: true, ...as })) {
    if (entry.type !== "file") continue;
    const blob = await downloadFile({ repo, revision: sha, path: entry.path, ...as });
    files[entry.path] = Buffer.from(await (blob as Blob).arrayBuffer()).toString("latin1");
  }
  return Object.fromEntries(Object.entries(files).sort());
}

const asText = (files: Record<string, Uint8Array>) =>
  Object.fromEntries(
    Object.entries(files)
      .map(([name, bytes]) => [name, Buffer.from(bytes).toString("latin1")])
      .sort(),
  );

const push = (number: number, as: { hubUrl: string; accessToken: string }) =>
  uploadFiles({
    repo,
    ...as,
    commitTitle: `Version ${number}`,
    files: Object.entries(version(number)).map(([name, bytes]) => ({ path: name, content: new Blob([bytes]) })),
  });

test("a server killed at any moment of a push has the old commit or the new one, and goes on", async () => {
  const folder = newFolder();
  let server = await startServer(folder);
  await createRepo({ repo, hubUrl: server.hubUrl, accessToken: TOKEN });
  const began = performance.now();
  await push(0, { hubUrl: server.hubUrl, accessToken: TOKEN });
  const took = performance.now() - began;
  // Files that a version does not name stay: pushes add and replace.
  let old = asText(version(0));
  let outcomes = "";
  for (let number = 1; number <= ROUNDS; number++) {
    const as = { hubUrl: server.hubUrl, accessToken: TOKEN };
    const pushing = push(number, as).then(
      () => "told",
      () => "lost",
    );
    // Moments all over a push, and after the last of them.
    await Promise.race([number === ROUNDS ? pushing : Bun.sleep((took * 1.2 * number) / ROUNDS), pushing]);
    await server.kill();
    const outcome = await pushing;
    server = await startServer(folder);
    const now = await served({ ...as, hubUrl: server.hubUrl });
    const next = Object.fromEntries(Object.entries({ ...old, ...asText(version(number)) }).sort());
    const isNew = JSON.stringify(now) === JSON.stringify(next);
    if (!isNew) expect(now).toEqual(old);
    if (outcome === "told") expect(isNew).toBe(true);
    outcomes += isNew ? "n" : "o";
    expect(filesIn(path.join(folder, "models", repo))).toEqual(now);
    old = now;
  }
  expect(outcomes).toContain("n");
  expect(outcomes).toContain("o");
  await push(99, { hubUrl: server.hubUrl, accessToken: TOKEN });
  expect(await served({ hubUrl: server.hubUrl, accessToken: TOKEN })).toMatchObject(asText(version(99)));
  await server.kill();
}, 60_000);

test("a push killed at any moment leaves the branch as it was or whole, and the next one is done", async () => {
  const folder = newFolder();
  const server = await startServer(folder);
  const as = { hubUrl: server.hubUrl, accessToken: TOKEN };
  await createRepo({ repo, ...as });
  for (let number = 1; number <= 5; number++) {
    const source = newFolder();
    lay(source, version(number));
    const before = await served(as);
    const command = [process.execPath, path.join(SCRIPTS, "upload-process.ts"), as.hubUrl, TOKEN, repo, source];
    const child = Bun.spawn(command, { stdout: "ignore", stderr: "ignore" });
    await Bun.sleep(150 + number * 40);
    child.kill("SIGKILL");
    await child.exited;
    await Bun.sleep(20);
    const after = await served(as);
    const whole = { ...before, ...asText(version(number)) };
    expect([JSON.stringify(before), JSON.stringify(Object.fromEntries(Object.entries(whole).sort()))]).toContain(
      JSON.stringify(after),
    );
    const again = Bun.spawn(command, { stdout: "ignore", stderr: "inherit" });
    expect(await again.exited).toBe(0);
    expect(await served(as)).toEqual(whole);
  }
  const uploads = path.join(folder, ".gblr-hub/uploads");
  expect(existsSync(uploads) ? readdirSync(uploads) : []).toEqual([]);
  await server.kill();
}, 60_000);
