// Answers that are no file, and names that are no file names: each is one line that says what to do, with its own code,
// and never the token, which goes to the Hub alone.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { inspect } from "node:util";
import { bytesOf, type Fault, type HostileHub, hostileHub } from "../hostile-server.ts";
import { temporaryFolder } from "../temporary.ts";
import { failureOf, filesIn, pullAll } from "./pulling.ts";

const folder = temporaryFolder();
const TOKEN = "hf_verysecretverysecret";
let hub: HostileHub;
let name = 0;
const access = (token?: string) => ({ endpoint: hub.url, cache: folder(String(name++)), token });
beforeAll(async () => {
  hub = await hostileHub({ "config.json": bytesOf(300, 2), "model.safetensors": bytesOf(70_000) });
});
function fresh(): void {
  hub.fault = () => undefined;
  hub.listing = (entries) => entries;
  hub.asked.length = 0;
}
afterAll(() => hub.close());

const refuse = (status: number, code = "", message = ""): Fault => ({
  status,
  headers: { "content-type": "application/json", ...(code && { "x-error-code": code }), "x-request-id": "r-17" },
  text: JSON.stringify({ error: message }),
});

interface Case {
  what: "info" | "model.safetensors";
  fault: Fault;
  token?: string;
  code: string;
  says: RegExp;
}

const CASES: [string, Case][] = [
  [
    "a repository that nobody has",
    {
      what: "info",
      fault: refuse(404, "RepoNotFound"),
      token: TOKEN,
      code: "no-repository",
      says: /has no model "x\/y" that this token may see; check the name and the token/,
    },
  ],
  [
    "a repository that may be private",
    {
      what: "info",
      fault: refuse(401, "RepoNotFound", "Invalid username or password."),
      code: "no-repository",
      says: /has no model "x\/y" that is public; check the name, or set HF_TOKEN if it is private/,
    },
  ],
  [
    "a revision that it does not have",
    {
      what: "info",
      fault: refuse(404, "RevisionNotFound"),
      code: "no-revision",
      says: /^x\/y has no revision "main"; give a branch, a tag or a commit that it has$/,
    },
  ],
  [
    "a token that nobody knows",
    {
      what: "info",
      fault: refuse(401, "", "Invalid credentials in Authorization header"),
      token: TOKEN,
      code: "unauthorized",
      says: /does not know this token; set HF_TOKEN to one of its tokens$/,
    },
  ],
  [
    "a gate, without a token",
    {
      what: "model.safetensors",
      fault: refuse(401, "GatedRepo"),
      code: "gated",
      says: /^x\/y is gated; ask for access at http:\S+\/x\/y and set HF_TOKEN to a token of that account$/,
    },
  ],
  [
    "a gate that is closed to the token",
    {
      what: "model.safetensors",
      fault: refuse(403, "GatedRepo"),
      token: TOKEN,
      code: "gated",
      says: /^x\/y is gated and the account of this token has no access yet; ask for it at/,
    },
  ],
  [
    "a token that may not",
    {
      what: "info",
      fault: refuse(403, "", "Forbidden: only readers\nof this"),
      token: TOKEN,
      code: "forbidden",
      says: /^x\/y: this token does not permit that \(status 403: "Forbidden: only readers of this"\)/,
    },
  ],
  [
    "a file that is gone",
    {
      what: "model.safetensors",
      fault: refuse(404, "EntryNotFound"),
      code: "no-file",
      says: /^x\/y has no file "model\.safetensors"$/,
    },
  ],
  [
    "an answer of something else",
    {
      what: "info",
      fault: { status: 418, text: "<!doctype html><p>tea" },
      code: "refused",
      says: /^x\/y: 127\.0\.0\.1:\d+ answers with status 418$/,
    },
  ],
  [
    "a server that stays down",
    {
      what: "info",
      fault: { status: 503 },
      code: "unreachable",
      says: /^x\/y: 127\.0\.0\.1:\d+ answers with status 503$/,
    },
  ],
];

test.each(CASES)("%s is one line", async (_, { what, fault, token, code, says }) => {
  fresh();
  hub.fault = (asked) => (asked === what ? fault : undefined);
  const error = await failureOf(pullAll(access(token)));
  expect(error.message).toMatch(says);
  expect(error.message).not.toContain("\n");
  expect(error.code).toBe(code);
});

test("a Hub that says the token in its answer does not get it into the error", async () => {
  fresh();
  hub.fault = () => refuse(403, "", `bad token ${TOKEN}`);
  const error = await failureOf(pullAll(access(TOKEN)));
  expect(error.message).toContain('"bad token …"');
  expect(inspect(error)).not.toContain(TOKEN);
});

test("nobody at the address is one line too", async () => {
  fresh();
  const nobody = { endpoint: "http://127.0.0.1:64999", cache: folder("nobody"), token: TOKEN };
  const error = await failureOf(pullAll(nobody));
  expect(error.message).toBe(
    "x/y: 127.0.0.1:64999 cannot be reached after 4 attempts (connection refused); check the network and HF_ENDPOINT",
  );
  expect(inspect(error)).not.toContain(TOKEN);
});

const UNSAFE = [
  "../x",
  "a/../../x",
  "/etc/x",
  "a//b",
  "a\\..\\x",
  "C:/x",
  "a\0b",
  "a\nb",
  "",
  ".",
  "a/./b",
  "x".repeat(256),
];

test.each(UNSAFE.map((path) => [path]))("a listing with the name %j is refused whole", async (path) => {
  fresh();
  hub.listing = (entries) => [...entries, { ...entries[0], path }];
  const to = access();
  const error = await failureOf(pullAll(to));
  expect(error.code).toBe("unsafe-name");
  expect(error.message).toContain("broken or hostile");
  expect(existsSync(to.cache) ? readdirSync(to.cache) : []).toEqual([]);
});

test.each([
  ["oid", "../../x"],
  ["size", -1],
  ["size", "12"],
  ["type", "fiLe"],
  ["lfs", { oid: "../../../x", size: 3, pointerSize: 1 }],
])("a listing whose %s is %j is refused", async (key, value) => {
  fresh();
  hub.listing = ([entry]) => [{ ...entry, [key]: value }];
  expect((await failureOf(pullAll(access()))).message).toContain("without a valid hash and size");
});

test("a listing that was wrong is not kept: the next pull asks for it again", async () => {
  fresh();
  const to = access();
  hub.listing = ([entry, ...rest]) => [{ ...entry, path: "config.jsoN" }, ...rest];
  expect((await failureOf(pullAll(to))).message).toBe('x/y has no file "config.jsoN"');
  fresh();
  expect((await pullAll(to)).pulled.files).toEqual(["config.json", "model.safetensors"]);
});

test("an answer of the API that was spoilt on its way is asked for again", async () => {
  fresh();
  const spoilt = { status: 200, headers: { "content-type": "application/json" }, text: '{"sha": "c0f' };
  let spoiled = 0;
  hub.fault = (what) => (what === "info" && spoiled++ === 0 ? spoilt : undefined);
  const { events } = await pullAll(access());
  expect(events[0]).toMatchObject({ kind: "retrying", reason: "its answer is not JSON" });
  fresh();
  hub.fault = (what) => (what === "info" ? spoilt : undefined);
  expect((await failureOf(pullAll(access()))).message).toContain("after 4 attempts (its answer is not JSON)");
});

test("a commit that is no hash is refused", async () => {
  fresh();
  const commit = hub.commit;
  hub.commit = "../../elsewhere";
  const error = await failureOf(pullAll(access()));
  hub.commit = commit;
  expect(error.message).toContain("does not state its commit");
});

test("a file that is a folder of another file is an error, not a loop", async () => {
  fresh();
  hub.listing = ([entry]) => [entry, { ...entry, path: "config.json/inner" }];
  const error = await failureOf(pullAll(access()));
  expect(error.code).toBe("no-access");
});

test("the token goes to the Hub, and not to the storage that it redirects to", async () => {
  fresh();
  const storage = await hostileHub({ "model.safetensors": bytesOf(70_000) });
  try {
    hub.fault = (what) =>
      what === "model.safetensors" ? { redirect: `${storage.url}/storage/model.safetensors` } : undefined;
    const to = access(TOKEN);
    await pullAll(to);
    expect(hub.asked.map(({ headers }) => headers.authorization)).toEqual(hub.asked.map(() => `Bearer ${TOKEN}`));
    expect(storage.asked.map(({ headers }) => headers.authorization)).toEqual([undefined]);
    for (const [file, bytes] of await filesIn(to.cache)) expect([file, bytes.includes(TOKEN)]).toEqual([file, false]);
  } finally {
    await storage.close();
  }
});

test("a broken body is gone on with at the storage, by a new redirect of the Hub", async () => {
  fresh();
  const storage = await hostileHub({ "model.safetensors": bytesOf(70_000) });
  try {
    storage.fault = (_, count) => (count === 1 ? { cutAt: 20_000 } : undefined);
    hub.fault = (what) =>
      what === "model.safetensors" ? { redirect: `${storage.url}/storage/model.safetensors` } : undefined;
    const { pulled } = await pullAll(access());
    expect(storage.asked.map(({ headers }) => headers.range)).toEqual([undefined, "bytes=20000-"]);
    expect(Buffer.compare(readFileSync(`${pulled.folder}/model.safetensors`), bytesOf(70_000))).toBe(0);
  } finally {
    await storage.close();
  }
});

test.each([["ftp://127.0.0.1/x"], ["file:///etc/passwd"], ["http://"]])("a redirect to %s is refused", async (to) => {
  fresh();
  hub.fault = (what) => (what === "config.json" ? { redirect: to } : undefined);
  expect((await failureOf(pullAll(access()))).message).toContain("not safe to follow");
});

test("redirects in a circle end", async () => {
  fresh();
  hub.fault = (what) => (what === "config.json" ? { redirect: "config.json" } : undefined);
  expect((await failureOf(pullAll(access()))).message).toContain("redirects more than 10 times");
});
