// A Hub of one repository that does as a test tells it: bodies that end early, are wrong, stand still or crawl, answers
// of other servers, listings with names that no file may have. It keeps what it was asked. Not a Hub to work with: that
// one is hub/serve.

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const COMMIT = "c0ffee".padEnd(40, "0");

/** What becomes of a body. Places count from its first byte. */
export interface Fault {
  /** the answer's status instead of 200 or 206 */
  status?: number;
  headers?: Record<string, string>;
  /** text of an answer that is no file */
  text?: string;
  /** the connection breaks here */
  cutAt?: number;
  /** nothing more comes from here on */
  stallAt?: number;
  /** this byte is another */
  corruptAt?: number;
  /** bytes after the end */
  extra?: number;
  ignoreRange?: boolean;
  /** where the file is instead */
  redirect?: string;
  /** pause between chunks of 16 KiB, milliseconds */
  slow?: number;
}

export interface Asked {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
}

export interface HostileHub {
  url: string;
  asked: Asked[];
  /** bytes of files sent */
  sent: number;
  /** of the next answers */
  commit: string;
  files: Map<string, Uint8Array>;
  /** what to do to the `count`-th request (from 1) for a file, or for the API ("info", "tree") */
  fault: (what: string, count: number) => Fault | undefined;
  /** the listing, entry by entry; default what the files are */
  listing: (entries: Entry[]) => unknown[];
  close(): Promise<void>;
}

export interface Entry {
  type: "file";
  path: string;
  size: number;
  oid: string;
  lfs?: { oid: string; size: number; pointerSize: number };
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
export const gitHash = (bytes: Uint8Array): string =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

/** The same bytes each time. Files called *.safetensors are large ones (LFS), others small. */
export function bytesOf(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

const isLarge = (path: string): boolean => path.endsWith(".safetensors");
export const tagOf = (path: string, bytes: Uint8Array): string => (isLarge(path) ? sha256(bytes) : gitHash(bytes));

export async function hostileHub(files: Record<string, Uint8Array>): Promise<HostileHub> {
  const server = createServer((request, response) => {
    answer(hub, request, response).catch(() => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const counts = new Map<string, number>();
  const hub: HostileHub & { count(what: string): number } = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    sent: 0,
    commit: COMMIT,
    files: new Map(Object.entries(files)),
    fault: () => undefined,
    listing: (entries) => entries,
    count: (what) => {
      const count = (counts.get(what) ?? 0) + 1;
      counts.set(what, count);
      return count;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return hub;
}

type Counted = HostileHub & { count(what: string): number };

async function answer(hub: Counted, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = decodeURIComponent(new URL(request.url ?? "/", "http://hub").pathname);
  hub.asked.push({ method: request.method ?? "", path, headers: request.headers });
  const file = /\/(?:resolve\/[0-9a-f]{40}|storage)\/(.+)$/.exec(path)?.[1];
  const what = file ?? (path.includes("/tree/") ? "tree" : "info");
  const fault = hub.fault(what, hub.count(what)) ?? {};
  if (fault.redirect) return void response.writeHead(302, { location: fault.redirect, ...fault.headers }).end();
  if (fault.status !== undefined) return void response.writeHead(fault.status, fault.headers).end(fault.text);
  const bytes = file === undefined ? apiBody(hub, what) : hub.files.get(file);
  if (!bytes) return void response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
  const tag = file === undefined ? undefined : tagOf(file, bytes);
  await sendBody({ hub, bytes, tag, fault, counted: file !== undefined }, request, response);
}

function apiBody(hub: HostileHub, what: string): Uint8Array {
  const entries = [...hub.files].map(([path, bytes]): Entry => {
    const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 130 };
    return { type: "file", path, size: bytes.length, oid: gitHash(bytes), ...(isLarge(path) && { lfs }) };
  });
  const body = what === "tree" ? hub.listing(entries) : { id: "x/y", _id: "1", sha: hub.commit };
  return new TextEncoder().encode(JSON.stringify(body));
}

interface Sending {
  hub: HostileHub;
  bytes: Uint8Array;
  tag: string | undefined;
  fault: Fault;
  counted: boolean;
}

const CHUNK = 2 ** 14;

async function sendBody(sending: Sending, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { hub, bytes, tag, fault, counted } = sending;
  const range = fault.ignoreRange ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const whole = request.headers["if-range"] !== undefined && request.headers["if-range"] !== `"${tag}"`;
  const start = range === null || whole ? 0 : Number(range[1]);
  const stop = range?.[2] && !whole ? Number(range[2]) + 1 : bytes.length;
  const isPart = start > 0 || stop < bytes.length;
  const body = new Uint8Array(stop - start + (fault.extra ?? 0));
  body.set(bytes.subarray(start, stop));
  if (fault.corruptAt !== undefined) body[fault.corruptAt - start] = (body[fault.corruptAt - start] ?? 0) ^ 1;
  response.writeHead(isPart ? 206 : 200, {
    "content-length": body.length,
    ...(tag && { etag: `"${tag}"` }),
    ...(isPart && { "content-range": `bytes ${start}-${stop - 1}/${bytes.length}` }),
    ...fault.headers,
  });
  response.flushHeaders();
  const end = Math.min(
    body.length,
    ...[fault.cutAt, fault.stallAt].flatMap((at) => (at === undefined ? [] : [at - start])),
  );
  for (let at = 0; at < end; at += CHUNK) {
    const chunk = body.subarray(at, Math.min(end, at + CHUNK));
    if (request.socket.destroyed) return;
    await new Promise<void>((resolve) => response.write(chunk, () => resolve()));
    if (counted) hub.sent += chunk.length;
    if (fault.slow) await new Promise((resolve) => setTimeout(resolve, fault.slow));
  }
  if (fault.stallAt !== undefined) return;
  // A runtime may drop what it has not handed over yet when the connection breaks: time to hand it over.
  if (end < body.length) setTimeout(() => request.socket.destroy(), 100);
  else response.end();
}
