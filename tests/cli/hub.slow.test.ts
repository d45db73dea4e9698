// `gblr hub serve` as a user runs it: what it prints, how it stops, and which command lines it does not take.

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { createRepo, modelInfo, repoExists, uploadFile } from "@huggingface/hub";
import { lay, newFolder } from "../hub/serve/serving.ts";

const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");

function environment(extra: Record<string, string> = {}): Record<string, string> {
  const { HF_TOKEN: _, HF_ENDPOINT: __, ...rest } = process.env;
  return { ...(rest as Record<string, string>), ...extra };
}

function serve(args: string[], env: Record<string, string> = {}) {
  return Bun.spawn([process.execPath, GBLR, "hub", "serve", ...args], {
    stdout: "pipe",
    stderr: "pipe",
    env: environment(env),
  });
}

async function firstText(stream: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stream.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  return new TextDecoder().decode(value);
}

function refused(...args: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, GBLR, "hub", "serve", ...args], {
    env: environment(),
  });
  expect(stdout.toString()).toBe("");
  return { code: exitCode, line: stderr.toString() };
}

test("serve prints its address and a token once, takes what is pushed, and ends well at Ctrl-C", async () => {
  const folder = newFolder();
  lay(folder, { "models/me/laid/config.json": "{}" });
  const child = serve([folder, "--port", "0", "--json", "--verbose"]);
  const facts = JSON.parse(await firstText(child.stdout)) as { url: string; token: string; folder: string };
  expect(facts).toEqual({
    url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    token: expect.stringMatching(/^hf_/),
    folder,
  });
  const as = { hubUrl: facts.url, accessToken: facts.token };
  expect(await repoExists({ repo: "me/laid", hubUrl: facts.url })).toBe(true);
  await createRepo({ repo: "me/new", ...as });
  await uploadFile({ repo: "me/new", ...as, file: { path: "w.bin", content: new Blob(["weights\0"]) } });
  expect(await modelInfo({ name: "me/new", hubUrl: facts.url })).toMatchObject({ name: "me/new" });
  child.kill("SIGINT");
  expect(await child.exited).toBe(0);
  const log = await new Response(child.stderr).text();
  expect(log).toMatch(/ 200 POST \/api\/models\/me\/new\/commit\/main \d+\.\d ms\n/);
  expect(log).not.toContain(facts.token);
  expect(log).not.toContain("signature");
});

test("serve says how to use it, and keeps a token that it was given to itself", async () => {
  const folder = newFolder();
  const child = serve([folder, "--port", "0"], { HF_TOKEN: "hf_mySecret" });
  const greeting = await firstText(child.stdout);
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(greeting)?.[0] ?? "";
  expect(greeting).toContain(`HF_ENDPOINT=${url} HF_TOKEN=… gblr push folder owner/name`);
  expect(greeting).not.toContain("hf_mySecret");
  await createRepo({ repo: "me/new", hubUrl: url, accessToken: "hf_mySecret" });
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
  expect(await new Response(child.stderr).text()).toBe("");
});

test("serve lets nobody in from outside without a token of the user's", () => {
  expect(refused(newFolder(), "--host", "0.0.0.0")).toEqual({
    code: 2,
    line: "gblr: --host 0.0.0.0 is reachable from other machines; set a token of your own with --token or HF_TOKEN\n",
  });
});

test("serve refuses what it cannot serve in one line", async () => {
  const folder = newFolder();
  const file = path.join(folder, "file");
  writeFileSync(file, "");
  expect(refused(`${folder}/none`)).toEqual({
    code: 1,
    line: `gblr: ${folder}/none cannot be served: there is no such folder; create it first\n`,
  });
  expect(refused(file)).toEqual({ code: 1, line: `gblr: ${file} cannot be served: it is not a folder\n` });
  expect(refused(folder, "--port", "seven").code).toBe(2);
  expect(refused(folder, "--token", "mine")).toEqual({
    code: 2,
    line: "gblr: --token must begin with hf_; official clients accept no other\n",
  });
  expect(refused().code).toBe(2);
  const child = serve([folder, "--port", "0", "--json"]);
  const { port } = new URL((JSON.parse(await firstText(child.stdout)) as { url: string }).url);
  expect(refused(folder, "--port", port)).toEqual({
    code: 1,
    line: `gblr: 127.0.0.1:${port} cannot be listened on: EADDRINUSE\n`,
  });
  child.kill("SIGINT");
  expect(await child.exited).toBe(0);
}, 30_000);
