// gblr pull and gblr push as they are called: what they print, how they exit, and that Ctrl-C leaves work to go on with.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { bytesOf, COMMIT, type HostileHub, hostileHub } from "../hub/hostile-server.ts";
import { filesIn } from "../hub/pull/pulling.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const folder = temporaryFolder();
const GBLR = path.join(import.meta.dirname, "../../workbench/cli/gblr.ts");
const TOKEN = "hf_tokenofthecommandline";
let hub: HostileHub;
beforeAll(async () => {
  hub = await hostileHub({ "config.json": bytesOf(300, 2), "model.safetensors": bytesOf(900_000) });
  mkdirSync(folder("local"));
  mkdirSync(folder("model"));
  writeFileSync(folder("model", "config.json"), "{}");
  writeFileSync(folder("model", "model.safetensors"), bytesOf(5000));
});
afterAll(() => hub.close());

interface Ran {
  code: number | null;
  out: string;
  err: string;
}

function start(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [GBLR, ...args], {
    env: { PATH: process.env.PATH, HOME: folder("home"), HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN, ...env },
  });
  const texts = { out: "", err: "" };
  child.stdout.on("data", (chunk) => (texts.out += chunk));
  child.stderr.on("data", (chunk) => (texts.err += chunk));
  const ran = once(child, "close").then(([code]): Ran => ({ code, ...texts }));
  return { child, ran };
}

const run = (args: string[], env?: Record<string, string>) => start(args, env).ran;

test("pull prints the folder, and nothing else where stderr is no terminal", async () => {
  const { code, out, err } = await run(["pull", "x/y"]);
  const snapshot = folder("home", ".cache/huggingface/hub/models--x--y/snapshots", COMMIT);
  expect({ code, out, err }).toEqual({ code: 0, out: `${snapshot}\n`, err: "" });
  expect((await filesIn(snapshot)).get("config.json")?.equals(bytesOf(300, 2))).toBe(true);
});

test("pull --json tells commit, folder and files, offline too", async () => {
  const { code, out } = await run(["pull", "x/y@main", "--offline", "--include", "*.json", "--json"], {
    HF_ENDPOINT: "http://127.0.0.1:64999",
  });
  expect(code).toBe(0);
  expect(JSON.parse(out)).toEqual({
    repo: "x/y",
    type: "model",
    revision: "main",
    commit: COMMIT,
    folder: folder("home", ".cache/huggingface/hub/models--x--y/snapshots", COMMIT),
    files: ["config.json"],
  });
});

test("a Hub that does not answer is said on stderr, and the cache used", async () => {
  const { code, out, err } = await run(["pull", "x/y"], { HF_ENDPOINT: "http://127.0.0.1:64999" });
  expect(code).toBe(0);
  expect(out).toContain(COMMIT);
  expect(err).toBe(
    "gblr: x/y: 127.0.0.1:64999 cannot be reached after 3 attempts (connection refused); check the network and HF_ENDPOINT; using the cache\n",
  );
});

test("a folder goes up to a local Hub and comes down again", async () => {
  const local = { HF_ENDPOINT: `file:${folder("local")}` };
  const args = ["push", folder("model"), "me/tiny", "--create", "--message", "First"];
  const first = await run(args, local);
  expect(first.err).toBe("");
  const [address, ...told] = first.out.split("\n");
  expect(address).toBe(`file:${folder("local", "models/me/tiny")}`);
  expect(readFileSync(folder("local", "models/me/tiny/config.json"), "utf8")).toBe("{}");
  expect(told.join("\n")).toMatch(/^ {2}commit [0-9a-f]{8}: 2 files, 5\.00 kB\n$/);
  const again = await run([...args, "--json"], local);
  expect(JSON.parse(again.out)).toMatchObject({ repo: "me/tiny", type: "model", revision: "main", files: [] });
  const { out } = await run(["pull", "me/tiny"], local);
  expect(readFileSync(path.join(out.trim(), "model.safetensors")).equals(bytesOf(5000))).toBe(true);
});

test.each([
  [
    ["pull", "a/b/c"],
    2,
    /^gblr: "a\/b\/c" is not a valid name of a model: it has more than one slash; a name is like "owner\/name"\n$/,
  ],
  [["pull", "x/y@../z"], 2, /^gblr: "\.\.\/z" is not a valid revision of x\/y; .*\n$/],
  [["pull"], 2, /^gblr: missing required argument 'name'\n$/],
  [
    ["push", "model", "x/y@a", "--revision", "b"],
    2,
    /^gblr: x\/y@a and --revision b both name a branch; choose one\n$/,
  ],
  [
    ["push", "model", "x/y", "--private"],
    2,
    /^gblr: --private applies only to a repository that is created; add --create\n$/,
  ],
  [
    ["pull", "x/y", "--include", "*.bin"],
    1,
    /^gblr: x\/y has no file that matches \*\.bin; it has config\.json, model\.safetensors\n$/,
  ],
  [
    ["pull", "never/pulled", "--offline"],
    1,
    /^gblr: never\/pulled is not in the cache \S+ and --offline or HF_HUB_OFFLINE is set; pull it once without\n$/,
  ],
  [["push", "absent", "x/y"], 1, /^gblr: absent cannot be pushed: no such file\n$/],
])("%j exits with %i and one line", async (args, code, says) => {
  const ran = await run(args);
  expect(ran).toEqual({ code, out: "", err: expect.stringMatching(says) });
});

test("push without a token is one line", async () => {
  const { code, err } = await run(["push", folder("model"), "x/y"], { HF_TOKEN: "" });
  expect({ code, err }).toEqual({
    code: 1,
    err: "gblr: x/y cannot be pushed without a token; set HF_TOKEN to one of its tokens\n",
  });
});

test("Ctrl-C stops a pull cleanly, and the next one goes on from there", async () => {
  hub.fault = (what) => (what === "model.safetensors" ? { slow: 20 } : undefined);
  const env = { HF_HOME: folder("stopped") };
  const { child, ran } = start(["pull", "x/y"], env);
  const blobs = folder("stopped/hub/models--x--y/blobs");
  const broken = () => existsSync(blobs) && readdirSync(blobs).some((name) => name.endsWith(".incomplete"));
  while (!broken()) await new Promise((resolve) => setTimeout(resolve, 10));
  await new Promise((resolve) => setTimeout(resolve, 100));
  child.kill("SIGINT");
  expect(await ran).toEqual({
    code: 130,
    out: "",
    err: "gblr: interrupted; downloaded data is kept: run the same command again to resume\n",
  });
  hub.asked.length = 0;
  hub.fault = () => undefined;
  expect((await run(["pull", "x/y"], env)).code).toBe(0);
  expect(hub.asked.some(({ headers }) => headers.range !== undefined)).toBe(true);
});

test("the token is in nothing that was printed or written", async () => {
  const { out, err } = await run(["pull", "x/y", "--json"]);
  expect(out + err).not.toContain(TOKEN);
  for (const [file, bytes] of await filesIn(folder("home")))
    expect([file, bytes.includes(TOKEN)]).toEqual([file, false]);
});

test.each([["pull"], ["push"]])("%s --help ends with an example", async (verb) => {
  const { code, out } = await run([verb, "--help"]);
  expect(code).toBe(0);
  expect(out).toMatch(/Example:\n( {2}.*\n)+$/);
  expect(out).toContain(`gblr ${verb} `);
});
