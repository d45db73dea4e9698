// A local Hub for one test file, in a folder of its own, and what tests ask of it besides the official client.

import { afterAll } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import os from "node:os";
import path from "node:path";
import { type HubEvent, type ServedHub, type ServeOptions, serveHub } from "../../../hub/serve/index.ts";

export interface TestHub extends ServedHub {
  folder: string;
  events: HubEvent[];
  /** a request with the writing token */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** the JSON of a GET that must succeed */
  get<T>(path: string): Promise<T>;
}

export const TOKEN = "hf_testWriter";
export const READER = "hf_testReader";
export const GUEST = "hf_testGuest";

export function newFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "gblr-hub-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Ends with the test file. */
export async function testHub(options: Partial<ServeOptions> = {}): Promise<TestHub> {
  const { folder = newFolder() } = options;
  const events: HubEvent[] = [];
  const hub = await serveHub({
    token: TOKEN,
    tokens: [
      { token: READER, role: "read", user: "reader" },
      { token: GUEST, role: "guest", user: "guest" },
    ],
    log: (event) => events.push(event),
    ...options,
    folder,
  });
  afterAll(() => hub.close());
  const request = (address: string, init: RequestInit = {}) =>
    fetch(hub.url + address, { ...init, headers: { Authorization: `Bearer ${TOKEN}`, ...init.headers } });
  return {
    ...hub,
    folder,
    events,
    fetch: request,
    get: async <T>(address: string) => {
      const response = await request(address);
      if (!response.ok) throw new Error(`${address}: ${response.status} ${await response.text()}`);
      return (await response.json()) as T;
    },
  };
}

/** Lays files by hand. */
export function lay(folder: string, files: Record<string, string | Uint8Array>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), content);
  }
}

/** Files below a folder as text in Latin-1, by path. */
export function filesIn(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const files = names.filter((name) => statSync(path.join(folder, name)).isFile());
  return Object.fromEntries(files.map((name) => [name, readFileSync(path.join(folder, name), "latin1")]));
}

/** Bytes that follow from a seed. */
export function bytesOf(length: number, seed: number): Uint8Array<ArrayBuffer> {
  let state = seed >>> 0 || 1;
  return Uint8Array.from({ length }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 0xff;
  });
}

export function sha256(content: string | Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(content).digest("hex");
}

/** Sends bytes as they are, and returns the answer up to the end of the connection. `fetch` would tidy addresses up. */
export function sendRaw(url: string, bytes: string | Uint8Array): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    let answer = "";
    socket.setTimeout(1000, () => socket.destroy());
    socket.on("data", (data) => {
      answer += data.toString("latin1");
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", (error) => (answer === "" ? reject(error) : resolve(answer)));
  });
}

/** One commit as official clients send it. */
export function commitBody(header: Record<string, unknown>, ...lines: { key: string; value: unknown }[]): string {
  return [{ key: "header", value: { summary: "Test", ...header } }, ...lines]
    .map((line) => JSON.stringify(line))
    .join("\n");
}

export function textFile(name: string, content: string): { key: "file"; value: unknown } {
  return { key: "file", value: { path: name, content, encoding: "utf-8" } };
}
