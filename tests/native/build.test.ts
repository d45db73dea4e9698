// Finding libtorch and knowing when the built addon no longer fits it.

import { afterAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildState, hashSources, type Stamp, stampPath } from "../../native/build-state.ts";
import { findLibtorch, fingerprint } from "../../native/libtorch.ts";

const root = mkdtempSync(join(tmpdir(), "gblr-build-"));
afterAll(() => rmSync(root, { recursive: true }));

/** Files where libtorch would have them, so that the search finds it. */
function layOutLibtorch(name: string, { cuda = false } = {}): string {
  const folder = join(root, name);
  mkdirSync(join(folder, "include/ATen"), { recursive: true });
  mkdirSync(join(folder, "include/torch"), { recursive: true });
  mkdirSync(join(folder, "lib"), { recursive: true });
  const version = "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 9\n#define TORCH_VERSION_PATCH 1\n";
  writeFileSync(join(folder, "include/torch/version.h"), version);
  writeFileSync(join(folder, "lib/libtorch_cpu.so"), "first");
  if (cuda) writeFileSync(join(folder, "lib/libtorch_cuda.so"), "");
  return folder;
}

/** A folder like the one that a build leaves. */
function layOutBuild(name: string, change: (stamp: Stamp) => void = () => undefined): string {
  const libtorch = findLibtorch({ LIBTORCH: layOutLibtorch(`${name}-libtorch`) });
  if (!libtorch) throw new Error("the libtorch laid out was not found");
  const stamp: Stamp = { libtorch, sources: hashSources() };
  change(stamp);
  const folder = join(root, name);
  mkdirSync(folder);
  writeFileSync(join(folder, "gblr.node"), "");
  writeFileSync(stampPath(folder), JSON.stringify(stamp));
  return folder;
}

test("LIBTORCH comes before any other libtorch, with its version and whether it has CUDA", () => {
  const folder = layOutLibtorch("asked", { cuda: true });
  expect(findLibtorch({ LIBTORCH: folder })).toMatchObject({ origin: "$LIBTORCH", version: "2.9.1", cuda: true });
});

test("a LIBTORCH that holds none is an error that names it, not a silent step to the next", () => {
  expect(() => findLibtorch({ LIBTORCH: "/nowhere" })).toThrow("LIBTORCH=/nowhere holds no include/ATen");
});

test("an addon that fits is built", () => {
  expect(buildState(layOutBuild("fits")).state).toBe("built");
});

test("without addon or with a broken stamp nothing is built", () => {
  expect(buildState(join(root, "nothing"))).toEqual({ state: "missing" });
  const folder = layOutBuild("broken");
  writeFileSync(stampPath(folder), '{"libtorch":');
  expect(buildState(folder)).toEqual({ state: "missing" });
});

test("a libtorch that changed under the addon is told, with its place", () => {
  const folder = layOutBuild("changed");
  const lib = join(root, "changed-libtorch/lib");
  writeFileSync(join(lib, "libtorch_cpu.so"), "second, and longer");
  expect(buildState(folder)).toMatchObject({
    state: "stale",
    why: `libtorch in ${lib} has changed since it was built against 2.9.1`,
  });
});

test("a libtorch that is gone is told", () => {
  const folder = layOutBuild("gone");
  rmSync(join(root, "gone-libtorch"), { recursive: true });
  expect(buildState(folder)).toMatchObject({ state: "stale", why: expect.stringContaining("is gone") });
  expect(fingerprint(join(root, "gone-libtorch/lib"))).toBeUndefined();
});

test("sources that changed since make it stale", () => {
  const folder = layOutBuild("older", (stamp) => {
    stamp.sources = "another";
  });
  expect(buildState(folder)).toMatchObject({ state: "stale", why: "its sources have changed since" });
});

test("without a compiler the build says so in one line; at install it does not fail", () => {
  const build = (...flags: string[]) =>
    spawnSync(process.execPath, ["native/build.ts", ...flags], {
      encoding: "utf8",
      env: { ...process.env, CXX: "no-such-compiler" },
    });
  const installing = build("--install");
  expect(installing.status).toBe(0);
  expect(installing.stdout.trim().split("\n")).toHaveLength(1);
  expect(installing.stdout).toContain("no C++ compiler (no-such-compiler) was found; wasm will be used");
  expect(build().status).toBe(1);
});
