// File locks by flock(2), as Python's client uses them. The operating system releases a lock when its holder dies.
// Locks only avoid downloading a file twice; correctness never depends on them. Where flock is missing, as on some
// cluster file systems, work continues without a lock.

import { randomBytes } from "node:crypto";
import { mkdir, open, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { pause } from "../request/context.ts";

/** Options of waiting for a lock. */
export interface LockOptions {
  signal?: AbortSignal | undefined;
  /** called once if another process holds the lock */
  onWait?: () => void;
}

interface HeldFile {
  /** false if another process holds the lock, or the file system has no locks */
  tryLock(): Promise<boolean>;
  /** also releases the lock */
  close(): Promise<void>;
}

const POLL_MS = 100;

/**
 * Waits for the lock.
 * @returns the function that releases it
 * @throws the signal's reason when it is aborted
 */
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

/** Whether the file system supports locks. Tested by locking a new file with a random name. */
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

/** From sys/file.h. The values are the same on Linux, macOS and the BSDs. */
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
      // The library does not exist on this system; the next one is tried.
    }
  }
  return undefined;
}
