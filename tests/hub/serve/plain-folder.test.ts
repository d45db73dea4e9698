// A plain folder as a repository: its ids are git's, they follow the files alone, changes by hand count at once, nothing
// outside is reached, and reading writes nothing.

import { afterAll, expect, test } from "bun:test";
import { appendFileSync, readdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { serveHub } from "../../../hub/serve/index.ts";
import { makeCommit, pointerOid, treeIds } from "../../../hub/serve/store/commit-object.ts";
import { bytesOf, commitBody, lay, newFolder, sha256, testHub, textFile } from "./serving.ts";

interface Info {
  id: string;
  sha: string;
  siblings: { rfilename: string; size: number; blobId: string; lfs?: { sha256: string; size: number } }[];
}

const git = (folder: string, ...args: string[]) =>
  Bun.spawnSync(["git", "-c", "core.autocrlf=false", ...args], {
    cwd: folder,
    env: {
      ...process.env,
      GIT_AUTHOR_NAME: "me",
      GIT_AUTHOR_EMAIL: "me@localhost",
      GIT_COMMITTER_NAME: "me",
      GIT_COMMITTER_EMAIL: "me@localhost",
      GIT_AUTHOR_DATE: "1700000000 +0000",
      GIT_COMMITTER_DATE: "1700000000 +0000",
      GIT_CONFIG_GLOBAL: "/dev/null",
    },
  })
    .stdout.toString()
    .trim();

test.skipIf(Bun.which("git") === null)("ids of contents, folders and commits are git's own", async () => {
  const folder = newFolder();
  const files = { "a.txt": "a", "a-b": "sorted between a and a/", "a/b/c.txt": "deep", "ä.json": "{}", "z/y": "" };
  const repo = path.join(folder, "models/me/git");
  // A file cannot be beside a folder of its name, but its name can begin with it: there git's order is its own.
  const laid = Object.fromEntries(Object.entries(files).filter(([name]) => name !== "a.txt"));
  lay(repo, laid);
  const { get } = await testHub({ folder });
  const { siblings } = await get<Info>("/api/models/me/git?blobs=true");
  const tree = await get<{ path: string; oid: string; type: string }[]>("/api/models/me/git/tree/main?recursive=1");
  git(repo, "init", "-q");
  git(repo, "add", ".");
  for (const { rfilename, blobId } of siblings) expect(git(repo, "hash-object", rfilename)).toBe(blobId);
  const root = git(repo, "write-tree");
  const byPath = new Map(tree.map((entry) => [entry.path, entry.oid]));
  for (const name of ["a", "a/b", "z"])
    expect(git(repo, "rev-parse", `${root}:${name}`)).toBe(byPath.get(name) as string);
  const entries = siblings.map(({ rfilename, blobId }) => ({
    path: rfilename,
    oid: blobId,
    size: 0,
    sha256: "",
    large: false,
  }));
  expect(treeIds(entries).get("")).toBe(root);
  const made = makeCommit({ title: "Title", message: "Body", author: "me", seconds: 1_700_000_000, files: entries });
  expect(git(repo, "commit-tree", root, "-m", "Title", "-m", "Body")).toBe(made.id);
});

test("large files are listed with their SHA-256 and the id of their pointer", async () => {
  const folder = newFolder();
  const weights = bytesOf(5000, 3);
  lay(path.join(folder, "models/me/m"), {
    "model.safetensors": weights,
    "zeros.dat": new Uint8Array(10),
    "text.dat": "text",
  });
  const { get } = await testHub({ folder });
  const { siblings } = await get<Info>("/api/models/me/m?blobs=true");
  expect(siblings.map(({ rfilename, lfs }) => [rfilename, lfs?.sha256])).toEqual([
    ["model.safetensors", sha256(weights)],
    ["text.dat", undefined],
    ["zeros.dat", sha256(new Uint8Array(10))],
  ]);
  const pointer = await (await fetch(`${(await testHub({ folder })).url}/me/m/raw/main/model.safetensors`)).text();
  expect(pointer).toBe(`version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(weights)}\nsize 5000\n`);
  expect(siblings[0]?.blobId).toBe(pointerOid({ sha256: sha256(weights), size: 5000 }));
  expect(siblings[0]?.blobId).toBe(
    new Bun.CryptoHasher("sha1").update(`blob ${pointer.length}\0${pointer}`).digest("hex"),
  );
});

test("the commit of a folder depends on its files alone: not on times, places or restarts", async () => {
  const [one, two] = [newFolder(), newFolder()];
  for (const folder of [one, two]) lay(path.join(folder, "models/me/m"), { "a.txt": "a", "b/c.txt": "c" });
  utimesSync(path.join(two, "models/me/m/a.txt"), 1e9, 1e9);
  const shaIn = async (folder: string) => (await (await testHub({ folder })).get<Info>("/api/models/me/m")).sha;
  const sha = await shaIn(one);
  expect(sha).toMatch(/^[0-9a-f]{40}$/);
  expect(await shaIn(two)).toBe(sha);
  expect(await shaIn(one)).toBe(sha);
  expect(readdirSync(one)).toEqual(["models"]);
});

test("a change by hand is a new commit at the next request, one of the same length and second too", async () => {
  const folder = newFolder();
  const at = path.join(folder, "models/me/m");
  lay(at, { "a.txt": "one" });
  const { get, fetch: request } = await testHub({ folder });
  const seen = new Set<string>();
  const look = async () => {
    const { sha } = await get<Info>("/api/models/me/m");
    expect(seen.has(sha)).toBe(false);
    seen.add(sha);
    return (await request("/me/m/resolve/main/a.txt")).text();
  };
  expect(await look()).toBe("one");
  writeFileSync(path.join(at, "a.txt"), "two");
  expect(await look()).toBe("two");
  utimesSync(path.join(at, "a.txt"), 1e9, 1e9);
  expect((await get<Info>("/api/models/me/m")).sha).toBe([...seen].at(-1) as string);
  appendFileSync(path.join(at, "a.txt"), "!");
  expect(await look()).toBe("two!");
  lay(at, { "b/new.txt": "new" });
  expect(await look()).toBe("two!");
  rmSync(path.join(at, "b"), { recursive: true });
  renameSync(path.join(at, "a.txt"), path.join(at, "c.txt"));
  expect((await get<Info>("/api/models/me/m")).siblings).toHaveLength(1);
});

test("changes faster than the file system's clock are seen", async () => {
  const folder = newFolder();
  const at = path.join(folder, "models/me/m");
  lay(at, { "a.txt": "0000" });
  const { fetch: request } = await testHub({ folder });
  for (let i = 0; i < 50; i++) {
    const text = String(i).padStart(4, "0");
    writeFileSync(path.join(at, "a.txt"), text);
    expect(await (await request("/me/m/resolve/main/a.txt")).text()).toBe(text);
  }
});

test("changes by hand after a push are children of the pushed commit, and putting things back is none", async () => {
  const folder = newFolder();
  const at = path.join(folder, "models/me/m");
  lay(at, { "a.txt": "laid", "b.txt": "stays" });
  const { get, fetch: request } = await testHub({ folder });
  const laid = (await get<Info>("/api/models/me/m")).sha;
  const pushed = await request("/api/models/me/m/commit/main", {
    method: "POST",
    body: commitBody({}, textFile("a.txt", "pushed")),
  });
  const { commitOid } = (await pushed.json()) as { commitOid: string };
  lay(at, { "a.txt": "by hand" });
  const { sha } = await get<Info>("/api/models/me/m");
  const chain = async () => (await get<{ id: string }[]>("/api/models/me/m/commits/main")).map(({ id }) => id);
  expect(await chain()).toEqual([sha, commitOid, laid]);
  // What was replaced by a commit was kept, though nobody had pushed it.
  for (const [revision, text] of [
    [laid, "laid"],
    [commitOid, "pushed"],
    [sha, "by hand"],
  ] as const) {
    expect(await (await request(`/me/m/resolve/${revision}/a.txt`)).text()).toBe(text);
  }
  lay(at, { "a.txt": "pushed" });
  expect(await chain()).toEqual([commitOid, laid]);
});

test("what was changed by hand and never pushed is gone, and the answer says so", async () => {
  const folder = newFolder();
  const at = path.join(folder, "models/me/m");
  lay(at, { "a.txt": "old", "b.txt": "same" });
  const { get, fetch: request } = await testHub({ folder });
  const { sha } = await get<Info>("/api/models/me/m");
  lay(at, { "a.txt": "new" });
  await get<Info>("/api/models/me/m");
  const gone = await request(`/me/m/resolve/${sha}/a.txt`);
  expect([gone.status, gone.headers.get("x-error-code")]).toEqual([404, "EntryNotFound"]);
  expect(await gone.json()).toEqual({ error: `"a.txt" of commit ${sha} was edited in the folder and not kept` });
  expect(await (await request(`/me/m/resolve/${sha}/b.txt`)).text()).toBe("same");
  lay(at, { "moved/c.txt": "old" });
  expect(await (await request(`/me/m/resolve/${sha}/a.txt`)).text()).toBe("old");
});

test("links lead to files inside the served folder and nowhere else", async () => {
  const folder = newFolder();
  const outside = newFolder();
  lay(outside, { "secret.txt": "secret", "models/x/y/config.json": "secret" });
  const at = path.join(folder, "models/me/m");
  lay(at, { "real.txt": "real", "sub/file.txt": "file" });
  lay(folder, { ".gblr-hub/token.txt": "secret", "models/me/other/kept.bin": "blob" });
  symlinkSync(path.join(outside, "secret.txt"), path.join(at, "out.txt"));
  symlinkSync("../../../../../../../../../../etc/passwd", path.join(at, "passwd"));
  symlinkSync(outside, path.join(at, "out"));
  symlinkSync(path.join(folder, ".gblr-hub/token.txt"), path.join(at, "token.txt"));
  symlinkSync("../other/kept.bin", path.join(at, "inside.bin"));
  symlinkSync(at, path.join(at, "loop"));
  symlinkSync("self", path.join(at, "self"));
  symlinkSync(path.join(outside, "models/x"), path.join(folder, "models/linked"));
  symlinkSync(outside, path.join(folder, "datasets"));
  const { get, fetch: request } = await testHub({ folder });
  const { siblings } = await get<Info>("/api/models/me/m");
  expect(siblings.map(({ rfilename }) => rfilename)).toEqual(["inside.bin", "real.txt", "sub/file.txt"]);
  expect(await (await request("/me/m/resolve/main/inside.bin")).text()).toBe("blob");
  for (const name of ["out.txt", "passwd", "out/secret.txt", "token.txt", "loop/real.txt", "self"]) {
    expect((await request(`/me/m/resolve/main/${name}`)).status).toBe(404);
  }
  expect((await request("/api/models/linked/y")).status).toBe(404);
  expect(await get<unknown[]>("/api/datasets")).toEqual([]);
  // Nor does a commit write through a link.
  const through = await request("/api/models/me/m/commit/main", {
    method: "POST",
    body: commitBody({}, textFile("out/new.txt", "x")),
  });
  expect(through.status).toBe(409);
  expect(await through.json()).toEqual({ error: `"out" is not a folder in the Hub's own folder; remove it there` });
  const over = await request("/api/models/me/m/commit/main", {
    method: "POST",
    body: commitBody({}, textFile("out.txt", "x")),
  });
  expect(over.status).toBe(200);
  expect(readdirSync(outside).sort()).toEqual(["models", "secret.txt"]);
  expect(await Bun.file(path.join(outside, "secret.txt")).text()).toBe("secret");
  expect(await Bun.file(path.join(at, "out.txt")).text()).toBe("x");
});

test("names that no repository should have are left out, odd ones that it may have are not", async () => {
  const folder = newFolder();
  const at = path.join(folder, "models/me/m");
  const odd = [
    "100%.txt",
    "a b.txt",
    "a#b?.txt",
    "ünï/côdé.txt",
    ".gitattributes",
    "%2e%2e.txt",
    "🙂.txt",
    "a&b=c;d.txt",
  ];
  lay(
    at,
    Object.fromEntries([...odd, ".git/config", "back\\slash", "new\nline", "C:drive"].map((name) => [name, name])),
  );
  lay(folder, { "models/.hidden/x/a": "", "models/me/.x/a": "", "models/me/a--b/a": "", "models/me/tree/a": "" });
  const { get, fetch: request } = await testHub({ folder });
  const { siblings } = await get<Info>("/api/models/me/m");
  expect(siblings.map(({ rfilename }) => rfilename).sort()).toEqual([...odd].sort());
  for (const name of odd) {
    const answer = await request(`/me/m/resolve/main/${name.split("/").map(encodeURIComponent).join("/")}`);
    expect(await answer.text()).toBe(name);
  }
  // As official clients send it.
  expect(await (await request("/me/m/resolve/main/100%.txt")).text()).toBe("100%.txt");
  expect((await get<Info[]>("/api/models")).map(({ id }) => id)).toEqual(["me/m"]);
});

test("a bare name is the folder of that name, or the only repository called so", async () => {
  const folder = newFolder();
  lay(folder, {
    "models/old/config.json": "{}",
    "models/me/one/a": "1",
    "models/me/two/a": "2",
    "models/you/two/a": "3",
  });
  const { get, fetch: request } = await testHub({ folder });
  expect((await get<Info>("/api/models/old")).id).toBe("old");
  expect((await get<Info>("/api/models/one/revision/main")).id).toBe("me/one");
  expect(await (await request("/one/resolve/main/a")).text()).toBe("1");
  expect((await request("/api/models/two")).status).toBe(404);
  expect((await get<Info[]>("/api/models")).map(({ id }) => id)).toEqual(["me/one", "me/two", "old", "you/two"]);
});

test("a file that is written over while it is served arrives whole or not at all", async () => {
  const folder = newFolder();
  const at = path.join(folder, "models/me/m");
  lay(at, { "a.txt": "first" });
  const { fetch: request } = await testHub({ folder });
  const writer = (async () => {
    for (let i = 0; i < 40; i++) {
      writeFileSync(path.join(at, "a.txt"), `${i} `.repeat(20_000));
      // Longer than a tick of the file system's clock.
      await Bun.sleep(15);
    }
    return "done";
  })();
  let whole = 0;
  while ((await Promise.race([writer, "writing"])) === "writing") {
    // A file that changes ends the connection, before the client has the head of the answer or after it.
    const answer = await request("/me/m/resolve/main/a.txt").catch((error) => {
      if (error.code !== "ECONNRESET") throw error;
    });
    const text = await answer?.text().catch(() => undefined);
    if (answer?.status !== 200 || text === undefined) continue;
    whole++;
    const etag = new Bun.CryptoHasher("sha1").update(`blob ${text.length}\0${text}`).digest("hex");
    expect(answer.headers.get("etag")).toBe(`"${etag}"`);
  }
  expect(whole).toBeGreaterThan(0);
});

test("two Hubs can serve one folder: what one takes the other has", async () => {
  const folder = newFolder();
  const [one, two] = [await testHub({ folder }), await testHub({ folder })];
  await one.fetch("/api/repos/create", { method: "POST", body: '{"name":"m","organization":"me"}' });
  const push = (hub: typeof one, i: number) =>
    hub.fetch("/api/models/me/m/commit/main", { method: "POST", body: commitBody({}, textFile(`${i}.txt`, `${i}`)) });
  const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => push(i % 2 ? one : two, i)));
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
  const [a, b] = [await one.get<Info>("/api/models/me/m"), await two.get<Info>("/api/models/me/m")];
  expect(a.sha).toBe(b.sha);
  expect(a.siblings).toHaveLength(10);
  expect(await one.get<unknown[]>("/api/models/me/m/commits/main")).toHaveLength(11);
});

test("a place that is none, or a token that no client takes, is refused before anything listens", async () => {
  const file = path.join(newFolder(), "file");
  writeFileSync(file, "");
  await expect(serveHub({ folder: `${file}/none` })).rejects.toThrow("there is no such folder; create it first");
  await expect(serveHub({ folder: file })).rejects.toThrow("it is not a folder");
  await expect(serveHub({ folder: newFolder(), token: "secret" })).rejects.toThrow("a token must start with hf_");
  const { port } = new URL((await testHub()).url);
  await expect(serveHub({ folder: newFolder(), port: Number(port) })).rejects.toThrow(
    `127.0.0.1:${port} cannot be listened on: EADDRINUSE`,
  );
  const served = await serveHub({ folder: newFolder() });
  afterAll(() => served.close());
  expect(served.token).toMatch(/^hf_[a-z0-9]{40,}$/);
});
