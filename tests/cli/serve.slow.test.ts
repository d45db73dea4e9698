// `gblr serve` as a user runs it, under Bun, Deno and Node: what it prints, that greedy texts are those of gblr generate,
// how it ends, and which command lines it does not take.

import { beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { writeChatModel } from "./chat-model.ts";
import { GBLR, isPresent, ROOT, RUNTIMES } from "./runtimes.ts";

const PATIENCE = 240_000;
const at = temporaryFolder();

beforeAll(async () => {
  await openEngine();
  await writeChatModel(at("tiny"), { positions: 512 });
}, PATIENCE);

async function serve(runtime: string, ...args: string[]) {
  const [program, ...before] = RUNTIMES[runtime] as readonly [string, ...string[]];
  const child = spawn(program, [...before, GBLR, "serve", at("tiny"), "--port", "0", "--json", ...args], { cwd: ROOT });
  let stderr = "";
  child.stderr.on("data", (data: Buffer) => {
    stderr += data;
  });
  const exited = once(child, "exit") as Promise<[number | null, string | null]>;
  const line = once(createInterface(child.stdout), "line") as Promise<[string]>;
  const first = await Promise.race([line, exited.then(([code]) => Promise.reject(new Error(`${code}: ${stderr}`)))]);
  const facts = JSON.parse(first[0]) as { url: string; models: string[] };
  return { child, exited, facts, stderr: () => stderr };
}

const request = (url: string, body: object) =>
  fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

for (const runtime of Object.keys(RUNTIMES)) {
  test.skipIf(!isPresent(runtime))(
    `serves texts as gblr generate makes them, and at SIGTERM finishes what runs: ${runtime}`,
    async () => {
      // Deno and Node have no native engine here if it was built for another runtime; wasm is the same on all.
      const engine = ["--engine", "wasm"];
      const { child, exited, facts, stderr } = await serve(runtime, ...engine, "--verbose");
      expect(facts).toEqual({ url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/), models: [at("tiny")] });
      const prompts = ["the tower is", "rain"];
      const answer = await request(facts.url, { prompt: prompts, temperature: 0, max_tokens: 20 });
      const { choices } = (await answer.json()) as { choices: { text: string }[] };
      for (const [i, prompt] of prompts.entries()) {
        const options = [prompt, "--temperature", "0", "--tokens", "20", "--json", ...engine];
        const made = Bun.spawnSync([process.execPath, GBLR, "generate", at("tiny"), ...options]);
        expect(choices[i]?.text).toBe((JSON.parse(made.stdout.toString()) as { text: string }).text);
      }

      // The page, and a file of it from a package.
      expect(await (await fetch(`${facts.url}/`)).text()).toContain("<title>gblr serve</title>");
      expect((await fetch(`${facts.url}/page/lib/preact-hooks.js`)).status).toBe(200);

      // A client that goes away frees its place.
      const gone = new AbortController();
      const body = JSON.stringify({ prompt: "a", max_tokens: 480, ignore_eos: true, stream: true });
      const headers = { "Content-Type": "application/json" };
      const leaving = await fetch(`${facts.url}/v1/completions`, {
        method: "POST",
        headers,
        body,
        signal: gone.signal,
      });
      await leaving.body?.getReader().read();
      gone.abort();
      for (let tries = 0; ; tries++) {
        const metrics = await (await fetch(`${facts.url}/metrics`)).text();
        if (/^gblr_sequences_running\{[^}]*\} 0$/m.test(metrics)) break;
        expect(tries).toBeLessThan(1000);
        await Bun.sleep(20);
      }

      const running = await request(facts.url, { prompt: "a", max_tokens: 60, ignore_eos: true, stream: true });
      const reader = (running.body as ReadableStream<Uint8Array>).getReader();
      let text = new TextDecoder().decode((await reader.read()).value);
      child.kill("SIGTERM");
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        text += new TextDecoder().decode(next.value);
      }
      expect(text).toEndWith("data: [DONE]\n\n");
      expect(await exited).toEqual([0, null]);
      expect(stderr()).toMatch(/ 200 POST \/v1\/completions \d+\.\d ms\n/);
      expect(stderr()).not.toContain("tower is");
    },
    PATIENCE,
  );
}

function refused(...args: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, GBLR, "serve", ...args], {
    env: { ...process.env, GBLR_API_KEY: "" },
  });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

test("lets nobody in from outside without a key, and takes no model twice", () => {
  expect(refused(at("tiny"), "--host", "0.0.0.0")).toEqual({
    code: 2,
    stdout: "",
    stderr: "gblr: --host 0.0.0.0 is reachable from other machines; set a key with --api-key or GBLR_API_KEY\n",
  });
  expect(refused(at("tiny"), at("tiny"))).toMatchObject({ code: 2, stderr: `gblr: ${at("tiny")} is named twice\n` });
  expect(refused(at("tiny"), "--api-key", "a b").stderr).toBe(
    "gblr: the key must be of ASCII characters without spaces, at least one\n",
  );
  expect(refused(at("tiny"), "--cors", "*").stderr).toContain("It must be an origin, e.g. http://localhost:5173.");
});
