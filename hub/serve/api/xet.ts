// Uploads by Xet, which Python's client uses for large files wherever its hf_xet is installed: a token, xorbs, and the
// shards that say which files they hold. Files become objects at once; from there on all is as after an upload by LFS.
// Downloads need nothing of it: no answer says that a file is kept by Xet.

import { readBytes } from "../body.ts";
import { requireWriter } from "../permissions.ts";
import { HubRefusal } from "../refusal.ts";
import { type HubReply, type HubRequest, json } from "../reply.ts";
import type { RepoRequest } from "../repo-request.ts";
import type { HubStore } from "../store/hub-store.ts";
import { shardFiles } from "../xet/index.ts";

const XET_PATH = "/api/xet";

/** How long a client uses an answer before it asks again, in seconds. */
const LIFETIME = 3600;
/** Longest shard, in bytes. */
const LONGEST_SHARD = 64 * 2 ** 20;

/** Where xorbs and shards go. The token is the caller's own: it may write here already. */
export async function xetWriteToken(request: RepoRequest): Promise<HubReply> {
  const accessToken = /^Bearer +(\S+)/i.exec(request.header("authorization") ?? "")?.[1] ?? "";
  const casUrl = `${request.base}${XET_PATH}/${await request.store.xorbs.today()}`;
  const exp = Math.floor(Date.now() / 1000) + LIFETIME;
  const headers = {
    "X-Xet-Cas-Url": casUrl,
    "X-Xet-Access-Token": accessToken,
    "X-Xet-Token-Expiration": String(exp),
  };
  return json({ accessToken, exp, casUrl }, { headers });
}

/** `POST /v1/xorbs/default/<hash>` */
export async function uploadXorb(request: HubRequest, store: HubStore, day: string, xorb: string): Promise<HubReply> {
  requireWriter(request.caller);
  await store.xorbs.receive(day, xorb, request.body);
  return json({ was_inserted: true });
}

/** `POST /v1/shards`: all xorbs of its files are here by now. */
export async function uploadShard(request: HubRequest, store: HubStore, day: string): Promise<HubReply> {
  requireWriter(request.caller);
  await store.xorbs.expectDay(day);
  for (const file of shardFiles(await readBytes(request, LONGEST_SHARD))) {
    if (!(await store.objects.has(file))) await store.objects.receive(store.xorbs.content(day, file), file);
  }
  return json({ result: 1 });
}

/** Chunks that others sent are not offered, and xorbs go nowhere but here. */
export function xetHasNone(): never {
  throw new HubRefusal(404, "a local Hub has nothing of this in Xet");
}
