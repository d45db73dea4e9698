// Files on the Hub that are read in parts: what is asked for, short reads near each other and one that is longer than an
// answer may be.

import { afterAll, beforeAll, expect, test } from "bun:test";
import type { ByteSource } from "../../../hub/files/byte-source.ts";
import { filesOfCommit } from "../../../hub/pull/repo-files.ts";
import { bytesOf, COMMIT, type HostileHub, hostileHub } from "../hostile-server.ts";
import { temporaryFolder } from "../temporary.ts";
import { HASTY, pullAll } from "./pulling.ts";

const at = temporaryFolder();
const FILE = "data/train.parquet";
/** of a request, at most */
const MOST = 2 ** 26;
const BYTES = bytesOf(MOST + 300_000);
/** The server, in this process, hashes the file before it answers: more than a second on a busy machine. */
const patience = { ...HASTY, stallMs: 60_000 };
let hub: HostileHub;
let file: ByteSource;

beforeAll(async () => {
  hub = await hostileHub({ "README.md": new TextEncoder().encode("Rows."), [FILE]: BYTES });
  const repo = { type: "dataset", id: "x/y", revision: COMMIT } as const;
  const access = { endpoint: hub.url, cache: at("cache") };
  await pullAll(access, { include: ["README.md"], patience }, repo);
  const files = await filesOfCommit({ repo, commit: COMMIT }, access, { patience });
  file = (await files?.find(({ path }) => path === FILE)?.open()) as ByteSource;
});
afterAll(async () => {
  await file.close();
  await hub.close();
});

/** The ranges that a read asks for. Expects that it has the bytes, in memory of their own. */
async function asked(start: number, length: number): Promise<unknown[]> {
  hub.asked.length = 0;
  const found = await file.read(start, length);
  expect(Buffer.compare(found, BYTES.subarray(start, start + length))).toBe(0);
  expect(found.buffer.byteLength).toBe(length);
  return hub.asked.map(({ headers }) => headers.range);
}

test("short reads near each other take one request, also after a long one", async () => {
  expect(await asked(1000, 10)).toEqual(["bytes=1000-66535"]);
  expect(await asked(66_000, 500)).toEqual([]);
  expect(await asked(200_000, 100_000)).toEqual(["bytes=200000-299999"]);
  expect(await asked(2000, 60_000)).toEqual([]);
  expect(await asked(BYTES.length - 20, 20)).toEqual([`bytes=${BYTES.length - 20}-${BYTES.length - 1}`]);
});

test("a long read takes several requests, of which one that breaks is repeated", async () => {
  let requests = 0;
  hub.fault = (what) => (what === FILE && ++requests === 2 ? { cutAt: MOST + 50_000 } : undefined);
  const rest = `bytes=${MOST + 100}-${MOST + 200_099}`;
  expect(await asked(100, MOST + 200_000)).toEqual([`bytes=100-${MOST + 99}`, rest, rest]);
});

test("a server that sends the whole file is understood", async () => {
  hub.fault = () => ({ ignoreRange: true });
  expect(await asked(300_000, 100_000)).toHaveLength(1);
  await expect(file.read(BYTES.length - 5, 6)).rejects.toThrow(/"data\/train\.parquet" ends at byte \d+$/);
});
