// A lock on a file, by flock(2): the one that Python's client takes, and one that the system lets go of when its holder
// dies. It saves fetching twice what another process is fetching; that a blob is whole never depends on it, so where
// there is no flock (some cluster file systems) work goes on without.

import { randomBytes } from "node:crypto";
import { mkdir, open, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { pause } from "../request/context.ts";

export interface LockOptions {
  signal?: AbortSignal | undefined;
  /** called once if another process holds it */
  onWait?: () => void;
}

interface HeldFile {
  /** false if someone else holds it, or there are no locks here */
  tryLock(): Promise<boolean>;
  /** lets go of the lock too */
  close(): Promise<void>;
}

const POLL_MS = 100;

/** Waits for the lock, and returns what lets go of it. @throws the signal's reason */
export async function lockFile(path: string, { signal, onWait }: LockOptions = {}): Promise<() => Promise<void>> {
  await mkdir(dirname(path), { recursive: true });
  const file = await openForLock(path);
  if (!file) return async () => {};
  try {
    for (let waited = false; !(await file.tryLock()); waited = true) {
      if (!waited && !(await canLockIn(dirname(path)))) break;
      if (!waited) onWait?.();
      await pause(POLL_MS, signal);
    }
    return () => file.close();
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A file that nobody else knows can be locked, unless the file system has no locks. */
async function canLockIn(folder: string): Promise<boolean> {
  const path = join(folder, `.${randomBytes(6).toString("hex")}.tmp`);
  const file = await openForLock(path);
  const locked = await file?.tryLock();
  await file?.close();
  await rm(path, { force: true });
  return locked === true;
}

interface DenoFile {
  tryLock(exclusive: boolean): Promise<boolean>;
  close(): void;
}

interface DenoFiles {
  open(path: string, options: Record<string, boolean | number>): Promise<DenoFile>;
}

async function openForLock(path: string): Promise<HeldFile | undefined> {
  const deno = (globalThis as { Deno?: DenoFiles }).Deno;
  if (deno) {
    const file = await deno.open(path, { read: true, write: true, create: true, mode: 0o664 });
    return { tryLock: () => file.tryLock(true).catch(() => false), close: async () => file.close() };
  }
  const flock = await libcFlock();
  if (!flock) return undefined;
  const handle = await open(path, "a", 0o664);
  return { tryLock: async () => flock(handle.fd), close: () => handle.close() };
}

type Flock = (descriptor: number) => boolean;

/** From sys/file.h; the same on Linux, macOS and the BSDs. */
const LOCK_EX = 2;
const LOCK_NB = 4;
const LIBRARIES = ["libc.so.6", "libSystem.B.dylib", "libc.so", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

let loaded: Promise<Flock | undefined> | undefined;

function libcFlock(): Promise<Flock | undefined> {
  loaded ??= loadFlock();
  return loaded;
}

async function loadFlock(): Promise<Flock | undefined> {
  if (!process.versions.bun || process.platform === "win32") return undefined;
  const { dlopen } = await import("bun:ffi");
  for (const library of LIBRARIES) {
    try {
      const { symbols } = dlopen(library, { flock: { args: ["i32", "i32"], returns: "i32" } });
      return (descriptor) => symbols.flock(descriptor, LOCK_EX | LOCK_NB) === 0;
    } catch {
      // Not the C library of this system.
    }
  }
  return undefined;
}
