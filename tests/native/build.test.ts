// Finding libtorch and knowing when the built addon no longer fits it.

import { afterAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { unsupported } from "../../native/build.ts";
import { buildState, hashSources, type Stamp, stampPath } from "../../native/build-state.ts";
import { standardOf } from "../../native/compile.ts";
import { findLibtorch, fingerprint } from "../../native/libtorch.ts";

const root = mkdtempSync(join(tmpdir(), "gblr-build-"));
afterAll(() => rmSync(root, { recursive: true }));

const VERSION = "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 9\n#define TORCH_VERSION_PATCH 1\n";

interface Layout {
  cuda?: boolean;
  /** what each header under include/ holds */
  headers?: Record<string, string>;
}

/** Files where libtorch would have them, so that the search finds it. */
function layOutLibtorch(name: string, { cuda = false, headers = { "torch/version.h": VERSION } }: Layout = {}): string {
  const folder = join(root, name);
  mkdirSync(join(folder, "include/ATen"), { recursive: true });
  mkdirSync(join(folder, "lib"), { recursive: true });
  for (const [header, text] of Object.entries(headers)) {
    const file = join(folder, "include", header);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  writeFileSync(join(folder, "lib/libtorch_cpu.so"), "first");
  if (cuda) writeFileSync(join(folder, "lib/libtorch_cuda.so"), "");
  return folder;
}

/** A folder like the one that a build leaves. */
function layOutBuild(name: string, change: (stamp: Stamp) => void = () => undefined): string {
  const libtorch = findLibtorch({ LIBTORCH: layOutLibtorch(`${name}-libtorch`) });
  if (!libtorch) throw new Error("the libtorch laid out was not found");
  const stamp: Stamp = { libtorch, sources: hashSources(), sanitized: false };
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

test("a LIBTORCH without a libtorch is an error that names it, not a silent step to the next", () => {
  expect(() => findLibtorch({ LIBTORCH: "/nowhere" })).toThrow("LIBTORCH=/nowhere has no include/ATen");
});

test("headers of NCCL are those beside PyTorch's wheel, if none of them is missing", () => {
  const folder = layOutLibtorch("python/torch", { cuda: true });
  const header = (file: string, text = "") => {
    const path = join(root, "python", file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  };
  const runtime = (version: number) => `#define CUDART_VERSION  ${version}\n`;
  const found = () => findLibtorch({ LIBTORCH: folder, CUDA_HOME: join(root, "python/toolkit") })?.nccl.toSorted();
  const folders = (...names: string[]) => names.map((name) => join(root, "python", name, "include"));
  expect(found()).toEqual([]);
  header("nvidia/nccl/include/nccl.h");
  header("nvidia/cu13/include/cuda_runtime_api.h", runtime(13_020));
  expect(found()).toEqual([]);
  // A toolkit of another version does not help.
  header("toolkit/include/crt/host_config.h");
  header("toolkit/include/cuda_runtime_api.h", runtime(12_080));
  expect(found()).toEqual([]);
  header("toolkit/include/cuda_runtime_api.h", runtime(13_021));
  expect(found()).toEqual(folders("nvidia/cu13", "nvidia/nccl", "toolkit"));
  header("toolkit/include/cuda_runtime_api.h", runtime(12_080));
  header("nvidia/cu13/include/crt/host_config.h");
  expect(found()).toEqual(folders("nvidia/cu13", "nvidia/nccl"));
});

test("the version is read where newer releases keep it", () => {
  const headers = {
    "torch/csrc/api/include/torch/version.h": "#include <torch/headeronly/version.h>\n",
    "torch/headeronly/version.h": VERSION.replace("MINOR 9", "MINOR 15"),
  };
  expect(findLibtorch({ LIBTORCH: layOutLibtorch("newer", { headers }) })?.version).toBe("2.15.1");
});

test("a version that no header tells is an error that names the header, and one line at install", () => {
  const elsewhere = layOutLibtorch("elsewhere", { headers: { "torch/version.h": '#include "moved.h"\n' } });
  const header = join(elsewhere, "include/torch/version.h");
  expect(() => findLibtorch({ LIBTORCH: elsewhere })).toThrow(`${header} does not define TORCH_VERSION_MAJOR`);
  const none = layOutLibtorch("without", { headers: {} });
  expect(() => findLibtorch({ LIBTORCH: none })).toThrow(`${none}/include has no torch/version.h`);
  const folder = layOutLibtorch("folder", { headers: { "torch/version.h/moved.h": VERSION } });
  expect(() => findLibtorch({ LIBTORCH: folder })).toThrow(`${folder}/include has no torch/version.h`);
  const build = (...flags: string[]) =>
    spawnSync(process.execPath, ["native/build.ts", ...flags], {
      encoding: "utf8",
      env: { ...process.env, LIBTORCH: elsewhere },
    });
  const installing = build("--install");
  expect(installing.status).toBe(0);
  expect(installing.stdout.trim().split("\n")).toHaveLength(1);
  expect(installing.stdout).toContain(header);
  const building = build();
  expect(building.status).toBe(1);
  expect(building.stderr.trim().split("\n")).toHaveLength(1);
});

test("a libtorch that is too old is refused by its version", () => {
  const headers = { "torch/version.h": VERSION.replace("MAJOR 2", "MAJOR 1").replace("MINOR 9", "MINOR 12") };
  const folder = layOutLibtorch("old", { headers });
  expect(() => findLibtorch({ LIBTORCH: folder })).toThrow("is libtorch 1.12.1, the addon needs 1.13 or newer");
});

test("the C++ standard is the one that the headers ask for, and at least our own", () => {
  const standard = (demand: string) => {
    const text = `#if !defined(_MSC_VER) && __cplusplus < ${demand}\n#error\n#endif\n`;
    const headers = { "ATen/ATen.h": text, "torch/version.h": VERSION };
    return standardOf([join(layOutLibtorch(`standard-${demand}`, { headers }), "include")]);
  };
  expect([standard("201402L"), standard("201703L"), standard("202002L"), standard("202302L")]).toEqual([
    17, 17, 20, 23,
  ]);
});

test("a platform without an addon is named", () => {
  expect(unsupported("linux", "x64")).toBeUndefined();
  expect(unsupported("linux", "arm64")).toBeUndefined();
  expect(unsupported("darwin", "arm64")).toBe("it supports Linux on x64 and arm64, this is macOS on arm64");
  expect(unsupported("linux", "riscv64")).toBe("it supports Linux on x64 and arm64, this is Linux on riscv64");
});

test("an addon that fits is built", () => {
  expect(buildState(layOutBuild("fits")).state).toBe("built");
});

test("without addon or with a broken stamp nothing is built", () => {
  expect(buildState(join(root, "nothing"))).toEqual({ state: "missing" });
  const folder = layOutBuild("broken");
  for (const text of ['{"libtorch":', "null", "{}", '{"libtorch":{"lib":5},"sources":"","sanitized":false}']) {
    writeFileSync(stampPath(folder), text);
    expect(buildState(folder)).toEqual({ state: "missing" });
  }
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
