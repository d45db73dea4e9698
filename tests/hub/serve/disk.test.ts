// A disk that is full, and one that is read-only: reads go on, writes are refused in one line, and what was there stays.
// The disks are small ones in memory, which only root can mount; elsewhere these tests are skipped.

import { afterAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { bytesOf, commitBody, filesIn, lay, newFolder, sha256, type TestHub, testHub, textFile } from "./serving.ts";

const run = (...command: string[]) => Bun.spawnSync(command, { stderr: "ignore" }).exitCode === 0;
// Before the folder is removed: what is done after tests is done in the order in which it was asked for.
afterAll(() => {
  if (mounted) run("umount", "-l", disk);
});
const disk = path.join(newFolder(), "disk");
mkdirSync(disk);
const isRoot = process.platform === "linux" && process.getuid?.() === 0;
const mounted = isRoot && run("mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk);

const commitTo = (hub: TestHub, ...lines: { key: string; value: unknown }[]) =>
  hub.fetch("/api/models/me/m/commit/main", { method: "POST", body: commitBody({}, ...lines) });

test.skipIf(!mounted)(
  "a full disk refuses with 507, keeps what was there, and takes more when there is room",
  async () => {
    lay(disk, { "models/me/m/a.txt": "a" });
    const hub = await testHub({ folder: disk, multipartFrom: 1e9 });
    expect((await commitTo(hub, textFile("b.txt", "b"))).status).toBe(200);
    const big = bytesOf(300_000, 1);
    const refused = await commitTo(hub, textFile("big.txt", "x".repeat(600_000)));
    expect([refused.status, await refused.json()]).toEqual([
      507,
      { error: "no space is left on the Hub's disk; nothing was changed" },
    ]);
    // Two contents that fit one by one, not together: the addresses are given before either is sent.
    const batch = {
      operation: "upload",
      transfers: ["basic"],
      objects: [1, 2].map((seed) => ({ oid: sha256(bytesOf(300_000, seed)), size: 300_000 })),
    };
    const answer = await hub.fetch("/me/m.git/info/lfs/objects/batch", { method: "POST", body: JSON.stringify(batch) });
    const { objects } = (await answer.json()) as { objects: { actions: { upload: { href: string } } }[] };
    const put = (i: number) =>
      fetch(objects[i]?.actions.upload.href ?? "", { method: "PUT", body: bytesOf(300_000, i + 1) });
    expect((await put(0)).status).toBe(200);
    expect((await put(1)).status).toBe(507);
    // The commit fits into the store; its copy in the folder does not. It counts nevertheless.
    const file = { key: "lfsFile", value: { path: "big.bin", algo: "sha256", oid: sha256(big), size: big.length } };
    expect((await commitTo(hub, file)).status).toBe(200);
    expect(new Uint8Array(await (await hub.fetch("/me/m/resolve/main/big.bin")).arrayBuffer())).toEqual(big);
    expect(await (await hub.fetch("/me/m/resolve/main/b.txt")).text()).toBe("b");
    expect(Object.keys(filesIn(disk)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    await hub.close();
    expect(run("mount", "-o", "remount,size=2m", disk)).toBe(true);
    await testHub({ folder: disk });
    expect(filesIn(path.join(disk, "models/me/m"))["big.bin"]).toBe(Buffer.from(big).toString("latin1"));
  },
);

test.skipIf(!mounted)("a read-only folder is served; writing to it is 403", async () => {
  expect(run("mount", "-o", "remount,ro", disk)).toBe(true);
  const hub = await testHub({ folder: disk });
  expect(await (await hub.fetch("/me/m/resolve/main/a.txt")).text()).toBe("a");
  const line = { error: "the Hub's folder is read-only; it can be read but not written" };
  for (const request of [
    () => commitTo(hub, textFile("c.txt", "c")),
    () => hub.fetch("/api/repos/create", { method: "POST", body: '{"name":"n","organization":"me"}' }),
    () => hub.fetch("/api/models/me/m/branch/dev", { method: "POST", body: "{}" }),
    () => hub.fetch("/api/models/me/m/settings", { method: "PUT", body: '{"private":true}' }),
  ]) {
    const response = await request();
    expect([response.status, await response.json()]).toEqual([403, line]);
  }
  expect(hub.events.filter((event) => event.kind === "fault")).toEqual([]);
});

test("a store that cannot be made is said so, and reads go on", async () => {
  const blocked = newFolder();
  lay(blocked, { "models/me/m/a.txt": "a", ".gblr-hub": "a file" });
  const hub = await testHub({ folder: blocked });
  expect(await (await hub.fetch("/me/m/resolve/main/a.txt")).text()).toBe("a");
  const refused = await commitTo(hub, textFile("b.txt", "b"));
  expect([refused.status, await refused.json()]).toEqual([
    403,
    { error: "the Hub's folder cannot be written: a file is where a folder should be" },
  ]);
});
