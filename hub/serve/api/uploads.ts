// Uploads of large files by Git LFS or Xet. Git LFS (git-lfs docs/api/batch.md) is supported with the multipart
// transfer of official clients: a batch request returns the addresses, contents are sent in one piece or in parts, and
// a last request joins the parts. Xet (huggingface.co/docs/xet) is what Python's client uses if hf_xet is installed: it
// requests a token, then sends xorbs, and shards that state which files the xorbs contain. A content becomes available
// only after it has been verified. Downloads do not use Xet: no answer mentions it.

import { statfs } from "node:fs/promises";
import { z } from "zod";
import type { HubStore } from "../store/hub-store.ts";
import type { ExpectedContent } from "../store/objects.ts";
import { HubRefusal } from "../store/refusal.ts";
import { partCount, type Upload } from "../store/uploads.ts";
import { shardFiles } from "../store/xet-formats.ts";
import { requireWriter, type Signer } from "./permissions.ts";
import { type HubReply, type HubRequest, json, readBytes, readJson, text } from "./reply.ts";
import type { RepoRequest } from "./repo-request.ts";

/** How uploads are signed and divided. */
export interface TransferSettings {
  signer: Signer;
  /** contents of more bytes are sent in parts, if the client supports it */
  multipartFrom: number;
  /** bytes of a part */
  partSize: number;
}

const SHA256 = z.string().regex(/^[0-9a-f]{64}$/, "a SHA-256 in hexadecimal");
const SIZE = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const BATCH = z.object({
  operation: z.enum(["upload", "download"]),
  transfers: z.array(z.string()).optional(),
  objects: z.array(z.object({ oid: SHA256, size: SIZE })).max(1000),
  hash_algo: z.string().optional(),
});

const MEDIA = { "Content-Type": "application/vnd.git-lfs+json" };
/** Largest number of parts, as in S3. It also limits the number of addresses in one answer. */
const MOST_PARTS = 10_000;
const UPLOAD_PATH = "/api/lfs/upload";

/** Answers a batch request with the upload addresses of the contents that are missing. */
export async function batch(request: RepoRequest, settings: TransferSettings): Promise<HubReply> {
  const { operation, transfers = ["basic"], objects, hash_algo = "sha256" } = await readJson(request, BATCH);
  if (!/^sha_?256$/i.test(hash_algo)) throw new HubRefusal(409, "this Hub identifies contents by their SHA-256 only");
  if (operation !== "upload") throw new HubRefusal(422, "this Hub does not support downloads by LFS; use /resolve/");
  const parts = transfers.includes("multipart");
  const free = await freeBytes(request.store.root);
  const main = new Set((await request.repository.main()).files.map(({ sha256 }) => sha256));
  const entries = await Promise.all(
    objects.map(async ({ oid: sha256, size }) => {
      const content = { sha256, size };
      const base = { oid: sha256, size, authenticated: true };
      if (main.has(sha256) || (await request.store.objects.has(content))) return base;
      if (size > free)
        return { ...base, error: { code: 507, message: "no space is left on the Hub's disk for this file" } };
      return {
        ...base,
        ...(await (parts && size > settings.multipartFrom ? inParts : inOnePiece)(request, content, settings)),
      };
    }),
  );
  return json(
    { transfer: parts && entries.some((entry) => "uploadedParts" in entry) ? "multipart" : "basic", objects: entries },
    { headers: MEDIA },
  );
}

async function inOnePiece({ base }: HubRequest, { sha256, size }: ExpectedContent, { signer }: TransferSettings) {
  return { actions: { upload: { href: `${base}${signer.sign(`${UPLOAD_PATH}/${sha256}`, { size })}` } } };
}

/**
 * Upload addresses of a content that is sent in parts. `uploadedParts` is an extension: the MD5s of parts that were
 * sent before. Other clients ignore it and send all parts.
 */
async function inParts(request: RepoRequest, content: ExpectedContent, settings: TransferSettings) {
  const { signer, partSize } = settings;
  const upload: Upload = { ...content, partSize: Math.max(partSize, Math.ceil(content.size / MOST_PARTS)) };
  const path = `${UPLOAD_PATH}/${content.sha256}`;
  const said = { size: content.size, chunk: upload.partSize };
  const href = (values: Record<string, number>) => `${request.base}${signer.sign(path, { ...said, ...values })}`;
  const header: Record<string, string> = { chunk_size: String(upload.partSize) };
  for (let part = 1; part <= partCount(upload); part++) header[String(part).padStart(5, "0")] = href({ part });
  return {
    actions: { upload: { href: href({}), header } },
    uploadedParts: Object.fromEntries(await request.store.uploads.parts(upload)),
  };
}

/** Receives a content, or a part of one, at an address from `batch`. */
export async function upload(request: HubRequest, store: HubStore, { signer }: TransferSettings): Promise<HubReply> {
  const { content, query } = signedContent(request, signer);
  const chunk = query.get("chunk");
  if (chunk === null) {
    if (await store.objects.has(content)) return drained(request);
    await store.objects.receive(request.body, content);
    return text("");
  }
  const number = Number(query.get("part"));
  const md5 = await store.uploads.receivePart({ ...content, partSize: Number(chunk) }, number, request.body);
  return text("", { headers: { ETag: `"${md5}"` } });
}

const COMPLETION = z.object({
  oid: SHA256,
  parts: z.array(z.object({ partNumber: z.number().int().min(1), etag: z.string().max(100) })).max(MOST_PARTS),
});

/** Joins the parts of a content. */
export async function complete(request: HubRequest, store: HubStore, { signer }: TransferSettings): Promise<HubReply> {
  const { content, query } = signedContent(request, signer);
  const { oid, parts } = await readJson(request, COMPLETION);
  if (oid !== content.sha256) throw new HubRefusal(400, "the parts belong to another file than the address");
  const md5s = [...parts].sort((a, b) => a.partNumber - b.partNumber).map(({ etag }) => etag.replace(/"/g, ""));
  if (md5s.some((md5) => !/^[0-9a-f]{32}$/.test(md5)))
    throw new HubRefusal(400, "the ETag of a part is not one that this Hub sent");
  await store.uploads.complete({ ...content, partSize: Number(query.get("chunk")) }, md5s);
  return json({}, { headers: MEDIA });
}

function signedContent(request: HubRequest, signer: Signer): { content: ExpectedContent; query: URLSearchParams } {
  const { query } = request;
  const path = `/${request.segments.join("/")}`;
  signer.check(path, query);
  return { content: { sha256: request.segments.at(-1) as string, size: Number(query.get("size")) }, query };
}

/** Reads and ignores the body, since clients do not read an answer before they have sent everything. */
async function drained(request: HubRequest): Promise<HubReply> {
  for await (const _ of request.body);
  return text("");
}

async function freeBytes(folder: string): Promise<number> {
  const stats = await statfs(folder).catch(() => undefined);
  return stats ? stats.bavail * stats.bsize : Number.POSITIVE_INFINITY;
}

const XET_PATH = "/api/xet";

/** Lifetime of a token for Xet, in seconds. */
const LIFETIME = 3600;
/** Longest shard, in bytes. */
const LONGEST_SHARD = 64 * 2 ** 20;

/** Answers with the address for xorbs and shards and a token for it, which is the caller's own. */
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

/** `POST /v1/shards`: makes files from xorbs, all of which have been received. */
export async function uploadShard(request: HubRequest, store: HubStore, day: string): Promise<HubReply> {
  requireWriter(request.caller);
  await store.xorbs.expectDay(day);
  for (const file of shardFiles(await readBytes(request, LONGEST_SHARD))) {
    if (!(await store.objects.has(file))) await store.objects.receive(store.xorbs.content(day, file), file);
  }
  return json({ result: 1 });
}

/**
 * Refuses requests for the parts of Xet that are not supported: deduplication against the chunks of other clients, and
 * downloads.
 */
export function xetHasNone(): never {
  throw new HubRefusal(404, "a local Hub does not support this part of Xet");
}
