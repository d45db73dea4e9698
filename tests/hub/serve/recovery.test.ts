// A commit that was made and could not be laid out in the plain folder: it counts, it is served whole, and the folder
// follows when it can. The state that a server killed between the two leaves.

import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { commitBody, filesIn, lay, newFolder, testHub, textFile } from "./serving.ts";

test("a commit that the folder cannot take yet is served from the store, and laid out at the next start", async () => {
  const folder = newFolder();
  const at = path.join(folder, "models/me/m");
  lay(at, { "a.txt": "a", "b.txt": "b", "c/d.txt": "d" });
  const first = await testHub({ folder });
  // In the way of b: a folder with something in it that no commit knows.
  mkdirSync(path.join(at, "z.txt"));
  writeFileSync(path.join(at, "z.txt/.x.0123456789ab.tmp"), "");
  const body = commitBody(
    {},
    textFile("a.txt", "new a"),
    { key: "deletedFile", value: { path: "c/d.txt" } },
    textFile("c", "a file where a folder was"),
    textFile("z.txt", "late"),
  );
  const answer = await first.fetch("/api/models/me/m/commit/main", { method: "POST", body });
  expect(answer.status).toBe(200);
  const { commitOid } = (await answer.json()) as { commitOid: string };
  const wanted = { "a.txt": "new a", "b.txt": "b", c: "a file where a folder was", "z.txt": "late" };
  const served = async (hub: typeof first) => {
    const { sha, siblings } = await hub.get<{ sha: string; siblings: { rfilename: string }[] }>("/api/models/me/m");
    expect(sha).toBe(commitOid);
    const texts = siblings.map(async ({ rfilename }) => [
      rfilename,
      await (await hub.fetch(`/me/m/resolve/main/${rfilename}`)).text(),
    ]);
    return Object.fromEntries(await Promise.all(texts));
  };
  expect(await served(first)).toEqual(wanted);
  expect(filesIn(at)["z.txt"]).toBeUndefined();
  await first.close();
  const second = await testHub({ folder });
  expect(await served(second)).toEqual(wanted);
  await second.close();

  rmSync(path.join(at, "z.txt"), { recursive: true });
  // A server that died in the middle left some files new and some old.
  writeFileSync(path.join(at, "a.txt"), "a");
  const third = await testHub({ folder });
  expect(filesIn(at)).toEqual(wanted);
  expect(await served(third)).toEqual(wanted);
  // From now on the folder counts again.
  writeFileSync(path.join(at, "a.txt"), "by hand");
  expect(await (await third.fetch("/me/m/resolve/main/a.txt")).text()).toBe("by hand");
  expect(
    readFileSync(path.join(folder, ".gblr-hub/repositories/models/me/m/refs/heads/main.json"), "utf8"),
  ).not.toContain("pending");
});
