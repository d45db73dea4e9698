// The cache of token files under changes, damage, kills and races: whole or not there, and never stale.

import { describe, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { openTextTokens } from "../../workbench/data/index.ts";
import { openTokenFile } from "../../workbench/data/tokens/token-file.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { writeTinyTokenizer } from "./hub-folders.ts";
import { commandFor, refusal, setUp, TEXT, tokensOf } from "./text-set.ts";

const folder = temporaryFolder();

describe("the cache", () => {
  test("is used again, by position as by map, until anything that ids depend on changes", async () => {
    const options = setUp(folder("set-1"), "the and\n");
    const first = await tokensOf(options);
    const again = await tokensOf(options);
    expect([first.cached, again.cached, again.tokens.path]).toEqual([false, true, first.tokens.path]);
    expect(again.events.map(({ kind }) => kind)).toEqual(["data", "tokens"]);
    const byPosition = await openTokenFile(first.tokens.path, { map: false });
    expect(await byPosition.read(0, first.tokens.length)).toEqual(await again.tokens.read(0, first.tokens.length));
    await byPosition.close();
    writeFileSync(join(options.dataset, "train.txt"), "the end\n");
    expect((await tokensOf(options)).cached).toBe(false);
    writeTinyTokenizer(options.tokenizer, { pre_tokenizer: { type: "ByteLevel", add_prefix_space: true } });
    expect((await tokensOf(options)).cached).toBe(false);
    expect((await tokensOf({ ...options, column: "other" })).cached).toBe(false);
    expect((await tokensOf(options)).cached).toBe(true);
  });

  test("knows a snapshot's file by its blob", async () => {
    const options = setUp(folder("set-2"), "the and\n");
    const blobs = folder("repository/blobs");
    const snapshot = folder("repository/snapshots/0123/data");
    mkdirSync(blobs, { recursive: true });
    mkdirSync(snapshot, { recursive: true });
    writeFileSync(join(blobs, "a".repeat(64)), "the and\n");
    symlinkSync(join("../../../blobs", "a".repeat(64)), join(snapshot, "train.txt"));
    const dataset = folder("repository/snapshots/0123");
    expect((await tokensOf({ ...options, dataset })).cached).toBe(false);
    writeFileSync(join(blobs, "b".repeat(64)), "the end\n");
    symlinkSync(join("../../../blobs", "b".repeat(64)), join(snapshot, "validation.txt"));
    expect((await tokensOf({ ...options, dataset, split: "validation" })).cached).toBe(false);
    expect((await tokensOf({ ...options, dataset })).cached).toBe(true);
  });

  test("is made again when it was cut off or changed, at any byte", async () => {
    const options = setUp(folder("set-3"), "the and the end of it\n");
    const { tokens } = await tokensOf(options);
    const { path } = tokens;
    const whole = readFileSync(path);
    const ids = await tokens.read(0, tokens.length);
    for (let length = 0; length < whole.length; length += 7) {
      writeFileSync(path, whole);
      truncateSync(path, length);
      await expect(openTokenFile(path)).rejects.toThrow("is not a token file, or is damaged");
    }
    const made = await tokensOf(options);
    expect([made.cached, await made.tokens.read(0, ids.length)]).toEqual([false, ids]);
    for (const at of [0, 3, 2 * ids.length - 1, whole.length - 1, whole.length - 10]) {
      const damaged = Uint8Array.from(whole);
      damaged[at] = (damaged[at] as number) ^ 0x10;
      writeFileSync(path, damaged);
      expect((await tokensOf(options)).cached).toBe(false);
    }
    expect(readFileSync(path)).toEqual(whole);
  });

  test("has nothing half-written in it after an abort or an early stop", async () => {
    const options = setUp(folder("set-4"), TEXT.repeat(20));
    const stopped = new AbortController();
    const run = async () => {
      for await (const { kind } of openTextTokens({ ...options, signal: stopped.signal })) {
        if (kind === "tokenizing") stopped.abort(new Error("enough"));
      }
    };
    await expect(run()).rejects.toThrow("enough");
    for await (const { kind } of openTextTokens({ ...options, workers: 2 })) if (kind === "tokenizing") break;
    expect(readdirSync(options.cache)).toEqual([]);
  });

  test("may be filled by several processes at once, some of them killed", async () => {
    const options = setUp(folder("set-5"), TEXT.repeat(30));
    const command = commandFor(options);
    const start = (killAfter?: number) =>
      new Promise<string>((resolve) => {
        const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "inherit"] });
        let printed = "";
        child.stdout.on("data", (chunk) => {
          printed += chunk;
        });
        child.on("close", () => resolve(printed.trim()));
        if (killAfter !== undefined) setTimeout(() => child.kill("SIGKILL"), killAfter);
      });
    const lengths = await Promise.all([start(), start(), start(150), start(300), start(450)]);
    const { tokens, cached } = await tokensOf(options);
    expect([cached, lengths[0], lengths[1]]).toEqual([true, String(tokens.length), String(tokens.length)]);
    const names = readdirSync(options.cache).filter((name) => !name.startsWith("."));
    expect(names.length).toBe(1);
  }, 60_000);

  test("is cleared of what killed processes left, and of nothing that is being written", async () => {
    const options = setUp(folder("set-6"), "the\n");
    const { tokens } = await tokensOf(options);
    const name = tokens.path.slice(options.cache.length + 1);
    const [old, young] = [`.${name}.0a.tmp`, `.${name}.0b.tmp`];
    for (const file of [old, young]) writeFileSync(join(options.cache, file), "ids");
    const longAgo = new Date(Date.now() - 7_200_000);
    utimesSync(join(options.cache, old), longAgo, longAgo);
    truncateSync(tokens.path, 3);
    await tokensOf(options);
    expect(readdirSync(options.cache).sort()).toEqual([young, name]);
  });

  test.skipIf(process.platform !== "linux")("that runs out of room is refused in one line, and nothing is left", () => {
    const options = setUp(folder("set-7"), TEXT.repeat(3));
    // A limit on the size of files, in units of 1024 bytes, stands for a full disk.
    const command = [process.execPath, ...commandFor(options)].map((word) => `'${word}'`).join(" ");
    const run = spawnSync("bash", ["-c", `trap '' XFSZ; ulimit -f 64; exec ${command}`], { encoding: "utf8" });
    expect(run.stdout).toMatch(/^DataError .*\.tokens: cannot be written: .*(EFBIG|too large).*\n$/);
    expect(readdirSync(options.cache)).toEqual([]);
  });

  test("that cannot be written is refused in one line", async () => {
    const options = setUp(folder("set-8"), "the\n");
    writeFileSync(`${options.dataset}/../file`, "");
    expect(await refusal({ ...options, cache: join(options.dataset, "../file/cache") })).toMatch(
      /: cannot be written: part of its path is a file$/,
    );
    if (process.getuid?.() === 0) return;
    mkdirSync(options.cache, { recursive: true });
    chmodSync(options.cache, 0o500);
    expect(await refusal(options)).toMatch(/: cannot be written: permission denied$/);
  });
});
