// What must not work: addresses and names that lead out of the folder, bodies that are not what they should be, tokens
// that are none. Never an answer of the inside, never a file outside, and the server lives on.

import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { isRefName, isRepoId, pathProblem } from "../../../hub/serve/store/names.ts";
import { bytesOf, commitBody, filesIn, lay, newFolder, sendRaw, TOKEN, testHub, textFile } from "./serving.ts";

const outer = newFolder();
const folder = path.join(outer, "hub");
lay(outer, { "secret.txt": "TOP SECRET", "hub/models/me/m/a.txt": "a", "hub/secret.txt": "TOP SECRET" });
const hub = await testHub({ folder });
const writes = { method: "POST", headers: { Authorization: `Bearer ${TOKEN}` } };

/** Nothing was written but below the repository and the Hub's own folder. */
function nothingOutside(): void {
  const names = Object.keys(filesIn(outer)).filter((name) => !/^hub\/(models\/me\/|\.gblr-hub\/)/.test(name));
  expect(names).toEqual(["hub/secret.txt", "secret.txt"]);
}

const CLIMBS = [
  "..",
  "%2e%2e",
  ".%2e",
  "..%2f",
  "%2e%2e%2f",
  "..%5c",
  "%5c..",
  "....//",
  "%252e%252e",
  "..%00",
  "%c0%ae%c0%ae",
];

test("no spelling of a path leads out of the repository", async () => {
  for (const climb of CLIMBS) {
    for (const address of [
      `/me/m/resolve/main/${climb}/${climb}/${climb}/secret.txt`,
      `/me/m/resolve/main/${climb}secret.txt`,
      `/me/m/raw/main/x/${climb}/${climb}/secret.txt`,
      `/me/${climb}/resolve/main/secret.txt`,
      `/${climb}/${climb}/resolve/main/secret.txt`,
      `/me/m/resolve/${climb}/secret.txt`,
      `/api/models/${climb}/${climb}`,
      `/api/models/me/m/tree/main/${climb}`,
      `/api/models/me/m/revision/${climb}%2f${climb}`,
      `/datasets/${climb}/models/resolve/main/a.txt`,
      `/${climb}/secret.txt`,
    ]) {
      const answer = await sendRaw(hub.url, `GET ${address} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      expect([address, answer.slice(0, 10)]).toEqual([address, "HTTP/1.1 4"]);
      expect(answer).not.toContain("SECRET");
    }
  }
  for (const address of [
    "/.gblr-hub/x/resolve/main/a",
    "/me/m/resolve/main/.gblr-hub/repositories.lock",
    "/me/m/resolve/main//etc/passwd",
    "/me/m/resolve/main/%2fetc%2fpasswd",
  ]) {
    expect((await fetch(hub.url + address)).status).toBeGreaterThanOrEqual(400);
  }
});

test("no commit writes outside, whatever its paths are called", async () => {
  const names = [
    "../x",
    "a/../../x",
    "/etc/x",
    "a//b",
    "",
    ".",
    "..",
    "a/.",
    "a\\..\\x",
    "C:\\x",
    "C:x",
    "\\\\host\\x",
    "x\0y",
    "a\nb",
    ".git/config",
    "a/.GIT/hooks/x",
    "x".repeat(300),
    `${"d/".repeat(600)}x`,
    "\ud800",
  ];
  for (const name of names) {
    for (const line of [
      textFile(name, "x"),
      { key: "lfsFile", value: { path: name, algo: "sha256", oid: "0".repeat(64), size: 1 } },
      { key: "deletedFile", value: { path: name } },
      { key: "deletedFolder", value: { path: name } },
    ]) {
      const answer = await fetch(`${hub.url}/api/models/me/m/commit/main`, { ...writes, body: commitBody({}, line) });
      expect([name, answer.status]).toEqual([name, 400]);
    }
    const body = JSON.stringify({ files: [{ path: name, size: 1, sample: "" }] });
    expect((await fetch(`${hub.url}/api/models/me/m/preupload/main`, { ...writes, body })).status).toBe(400);
  }
  for (const branch of [
    "../x",
    "a..b",
    "x.lock",
    "HEAD",
    "refs/heads/..",
    "a b",
    "x".repeat(200),
    "0".repeat(40),
    "-x",
    "a//b",
  ]) {
    const made = await fetch(`${hub.url}/api/models/me/m/branch/${encodeURIComponent(branch)}`, {
      ...writes,
      body: "{}",
    });
    expect([branch, made.status]).toEqual([branch, 400]);
  }
  for (const name of [
    "..",
    ".",
    "a/b/c",
    "../x",
    "x/../y",
    ".hidden",
    "a..b",
    "a--b",
    "",
    "tree",
    "x.git",
    "é",
    "x".repeat(200),
    "a\0",
  ]) {
    const created = await fetch(`${hub.url}/api/repos/create`, {
      ...writes,
      body: JSON.stringify({ name, organization: "me" }),
    });
    expect([name, created.status]).toEqual([name, 400]);
    const removed = await fetch(`${hub.url}/api/repos/delete`, {
      ...writes,
      method: "DELETE",
      body: JSON.stringify({ name }),
    });
    expect([name, removed.status]).toEqual([name, 400]);
  }
  nothingOutside();
});

test("a commit whose lines are not right is refused whole", async () => {
  const good = commitBody({}, textFile("new.txt", "x"));
  const header = '{"key":"header","value":{"summary":"s"}}';
  for (const [body, status] of [
    ["", 400],
    ["\n\n", 400],
    [good.slice(0, -5), 400],
    [good.split("\n").reverse().join("\n"), 400],
    [`${header}\n${good}`, 400],
    [`${good}\nnull`, 400],
    [`${good}\n[]`, 400],
    [`${good}\n{"key":"file"}`, 400],
    [`${good}\n{"key":"other","value":{}}`, 400],
    [`${good}\n{"key":"__proto__","value":{"path":"x"}}`, 400],
    [`${good}\n{"key":"file","value":{"path":"b","content":"%%%","encoding":"base64"}}`, 400],
    [`${good}\n{"key":"file","value":{"path":"b","content":5}}`, 400],
    [`${good}\n{"key":"file","value":{"path":"a.txt/b","content":"x"}}`, 400],
    [`${good}\n{"key":"deletedFile","value":{"path":"none"}}`, 404],
    [`${good}\n{"key":"deletedFolder","value":{"path":"none"}}`, 404],
    [`${good}\n{"key":"lfsFile","value":{"path":"b","algo":"sha256","oid":"${"a".repeat(64)}","size":5}}`, 400],
    [`${header}\n"${"x".repeat(34 * 2 ** 20)}"`, 413],
    [`${header.replace("s", "s".repeat(2000))}`, 400],
  ] as const) {
    const answer = await fetch(`${hub.url}/api/models/me/m/commit/main`, { ...writes, body });
    expect([body.slice(0, 200), answer.status]).toEqual([body.slice(0, 200), status]);
    expect(((await answer.json()) as { error: string }).error).not.toContain("\n");
  }
  expect((await fetch(`${hub.url}/api/models/me/m/commit/none`, { ...writes, body: good })).status).toBe(404);
  expect((await fetch(`${hub.url}/api/models/me/m/commit/main?create_pr=1`, { ...writes, body: good })).status).toBe(
    403,
  );
  expect(Object.keys(filesIn(path.join(folder, "models/me/m")))).toEqual(["a.txt"]);
});

test("requests that are hardly HTTP are refused or dropped, and others are still answered", async () => {
  const lines = (...rows: string[]) => `${rows.join("\r\n")}\r\n\r\n`;
  const long = "x".repeat(200_000);
  for (const [request, status] of [
    [lines("GET / HTTP/1.1"), /^HTTP\/1\.1 400/],
    [lines("GET / HTTP/1.1", "Host: evil.example"), /^HTTP\/1\.1 421/],
    [lines("GET / HTTP/1.1", "Host: a b<script>"), /^HTTP\/1\.1 4|^$/],
    [lines(`GET /${long.slice(0, 10_000)} HTTP/1.1`, "Host: localhost", "Connection: close"), /^HTTP\/1\.1 4(14|31)/],
    [lines("GET / HTTP/1.1", "Host: localhost", `X: ${long}`), /^HTTP\/1\.1 4|^$/],
    [lines("BREW /me/m/resolve/main/a.txt HTTP/1.1", "Host: localhost", "Connection: close"), /^HTTP\/1\.1 4|^$/],
    [lines("DELETE /me/m/resolve/main/a.txt HTTP/1.1", "Host: localhost", "Connection: close"), /^HTTP\/1\.1 405/],
    [
      lines(
        "GET /me/m/resolve/main/a.txt HTTP/1.1",
        "Host: localhost",
        "Authorization: Basic eDp5",
        "Connection: close",
      ),
      /^HTTP\/1\.1 401/,
    ],
    [
      lines(
        "POST /api/repos/create HTTP/1.1",
        "Host: localhost",
        `Authorization: Bearer ${TOKEN}x`,
        "Content-Length: 0",
        "Connection: close",
      ),
      /^HTTP\/1\.1 401/,
    ],
    ["\0\0\0\0\r\n\r\n", /^HTTP\/1\.1 4|^$/],
  ] as const) {
    const answer = await sendRaw(hub.url, request).catch(() => "");
    expect([request.slice(0, 80), answer.slice(0, 20)]).toEqual([request.slice(0, 80), expect.stringMatching(status)]);
  }
  expect((await fetch(`${hub.url}/`)).status).toBe(200);
}, 30_000);

test("whatever is sent wherever, no answer is a fault of the server", async () => {
  const word = fc.oneof(
    fc.constantFrom(
      "me",
      "m",
      "main",
      "api",
      "models",
      "datasets",
      "resolve",
      "raw",
      "tree",
      "revision",
      "commit",
      "refs",
      "commits",
      "lfs",
      "upload",
      "branch",
      "tag",
      "settings",
      "paths-info",
      "preupload",
      "repos",
      "create",
      "m.git",
      "info",
      "objects",
      "batch",
      "constructor",
      "__proto__",
      "toString",
      "a.txt",
      "..",
      "",
      "%00",
      "%",
      "hasOwnProperty",
    ),
    fc.string({ unit: "binary", maxLength: 12 }).map((text) => encodeURIComponent(text.toWellFormed())),
  );
  const address = fc.tuple(
    fc.array(word, { maxLength: 7 }),
    fc.array(
      fc.tuple(
        fc.constantFrom(
          "limit",
          "cursor",
          "expand",
          "recursive",
          "part",
          "chunk",
          "size",
          "signature",
          "search",
          "sort",
          "filter",
        ),
        fc.string({ maxLength: 8 }),
      ),
      { maxLength: 3 },
    ),
  );
  const body = fc.oneof(
    fc.jsonValue().map((value) => JSON.stringify(value)),
    fc.string(),
    fc.constant(undefined),
  );
  const method = fc.constantFrom("GET", "HEAD", "POST", "PUT", "DELETE");
  await fc.assert(
    fc.asyncProperty(address, body, method, fc.boolean(), async ([segments, query], content, verb, authorised) => {
      const target = `${hub.url}/${segments.join("/")}?${new URLSearchParams(query)}`;
      const init = {
        method: verb,
        headers: authorised ? writes.headers : {},
        ...(verb !== "GET" && verb !== "HEAD" && { body: content ?? null }),
      };
      const answer = await fetch(target, init as RequestInit);
      const text = await answer.text();
      expect(answer.status).toBeLessThan(500);
      if (answer.status >= 400 && verb !== "HEAD") expect(Object.keys(JSON.parse(text))).toContain("error");
      expect(text).not.toMatch(/SECRET|node:|\bat .*:\d+:\d+|\/tmp\//);
    }),
    { numRuns: 400, seed: 4 },
  );
  nothingOutside();
}, 60_000);

test("commits of any names and bytes end as they were sent, or not at all", async () => {
  const name = fc
    .array(
      fc.oneof(
        fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }),
        fc.constantFrom("a", "b", "..", "a.txt", "é"),
      ),
      { minLength: 1, maxLength: 3 },
    )
    .map((parts) => parts.join("/"));
  const bytes = fc.uint8Array({ maxLength: 50 });
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(name, bytes), { minLength: 1, maxLength: 4 }), async (files) => {
      const lines = files.map(([path, content]) => ({
        key: "file",
        value: { path, content: Buffer.from(content).toString("base64"), encoding: "base64" },
      }));
      const answer = await fetch(`${hub.url}/api/models/me/m/commit/main`, {
        ...writes,
        body: commitBody({}, ...lines),
      });
      expect([200, 400]).toContain(answer.status);
      if (answer.status !== 200) return;
      accepted++;
      for (const [path, content] of new Map(files)) {
        const back = await fetch(`${hub.url}/me/m/resolve/main/${path.split("/").map(encodeURIComponent).join("/")}`);
        expect(new Uint8Array(await back.arrayBuffer())).toEqual(new Uint8Array(content));
      }
    }),
    { numRuns: 60, seed: 4 },
  );
  expect(accepted).toBeGreaterThan(5);
  nothingOutside();
}, 60_000);

test("names that pass stay below the folder that they are joined to", () => {
  const piece = fc.oneof(
    fc.constantFrom("..", ".", "/", "\\", "\0", "a", "%2e", "~", "C:", ".git"),
    fc.string({ maxLength: 4 }),
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 6 }).map((parts) => parts.join("")),
      (text) => {
        for (const passes of [pathProblem(text) === undefined, isRepoId(text), isRefName(text)]) {
          if (!passes) continue;
          const relative = path.relative("/folder", path.join("/folder", text));
          expect(relative.split("/")).not.toContain("..");
          expect(relative).not.toBe("");
          expect(path.win32.join("C:\\folder", text).startsWith("C:\\folder\\")).toBe(true);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test("who may not write writes nothing, and a large body of his is not kept", async () => {
  for (const [address, method] of [
    ["/api/models/me/m/commit/main", "POST"],
    ["/api/models/me/m/branch/x", "POST"],
    ["/api/models/me/m/branch/main", "DELETE"],
    ["/api/models/me/m/settings", "PUT"],
    ["/api/repos/create", "POST"],
    ["/api/repos/delete", "DELETE"],
    ["/me/m.git/info/lfs/objects/batch", "POST"],
    [`/api/lfs/upload/${"0".repeat(64)}?size=5`, "PUT"],
  ] as const) {
    const answer = await fetch(hub.url + address, { method, body: bytesOf(300_000, 1) });
    expect([address, answer.status]).toEqual([address, address.includes("lfs/upload") ? 403 : 401]);
  }
  expect(existsSync(path.join(folder, ".gblr-hub/uploads"))).toBe(false);
  nothingOutside();
});

test("after all this the server answers, and has met no fault of its own", async () => {
  expect(hub.events.filter((event) => event.kind === "fault")).toEqual([]);
  expect((await fetch(`${hub.url}/me/m/resolve/main/a.txt`)).status).toBe(200);
});
