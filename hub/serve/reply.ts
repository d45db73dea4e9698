// A request as handlers see it, and what they give back. No sockets here: server.ts turns one into the other.

import type { z } from "zod";
import type { Caller } from "./permissions.ts";

export interface HubRequest {
  method: string;
  /** decoded parts of the path */
  segments: string[];
  query: URLSearchParams;
  /** one header by its name in lower case */
  header(name: string): string | undefined;
  body: AsyncIterable<Uint8Array>;
  /** address of this Hub as the client wrote it, without a slash at its end */
  base: string;
  /** path with its query, as it came */
  target: string;
  caller: Caller | undefined;
}

export interface HubReply {
  status: number;
  headers?: Record<string, string>;
  /** text, or bytes as they are asked for; none for an empty body */
  body?: string | ByteBody;
}

export interface ByteBody {
  length: number;
  /** called unless the body is not wanted (HEAD) */
  read(): AsyncIterable<Uint8Array>;
  /** called in any case, at the end */
  close(): Promise<void>;
}

export function json(value: unknown, { status = 200, headers = {} }: Omit<Partial<HubReply>, "body"> = {}): HubReply {
  return {
    status,
    headers: { "Content-Type": "application/json; charset=utf-8", ...headers },
    body: JSON.stringify(value),
  };
}

export function text(body: string, { status = 200, headers = {} }: Omit<Partial<HubReply>, "body"> = {}): HubReply {
  return { status, headers: { "Content-Type": "text/plain; charset=utf-8", ...headers }, body };
}

export interface PageOptions<T> {
  /** in order */
  items: readonly T[];
  /** position in the order; the same every time */
  key(item: T): string;
  /** items on a page unless `limit` asks for fewer */
  most: number;
  /** put into the address of later pages, so that they are of the same list */
  pin?: string;
}

/** One page of a list, with the `Link` to the next. The cursor is the key of the last item. */
export function page<T>(request: HubRequest, options: PageOptions<T>): { items: T[]; headers: Record<string, string> } {
  const { items, key, most, pin } = options;
  const after = cursorOf(request)?.after;
  const start = after === undefined ? 0 : lowerBound(items, (item) => key(item) <= after);
  const limit = Math.min(positive(request.query.get("limit")) ?? most, most);
  const shown = items.slice(start, start + limit);
  const last = shown.at(-1);
  if (last === undefined || start + limit >= items.length) return { items: shown, headers: {} };
  const query = new URLSearchParams(request.query);
  query.set("cursor", Buffer.from(JSON.stringify({ after: key(last), pin })).toString("base64url"));
  const path = request.target.split("?")[0];
  return { items: shown, headers: { Link: `<${request.base}${path}?${query}>; rel="next"` } };
}

/** Where a list goes on. @throws {HubRefusal} 400 if it is none of ours */
export function cursorOf(request: HubRequest): { after: string; pin?: string } | undefined {
  const cursor = request.query.get("cursor");
  if (cursor === null) return undefined;
  try {
    const { after, pin } = JSON.parse(Buffer.from(cursor, "base64url").toString()) as Record<string, unknown>;
    if (typeof after === "string" && (pin === undefined || typeof pin === "string"))
      return { after, ...(pin && { pin }) };
  } catch {}
  throw new HubRefusal(400, "this cursor is not one that the Hub gave; begin the list again");
}

/** First index where `before` is no longer true. */
function lowerBound<T>(items: readonly T[], before: (item: T) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (before(items[middle] as T)) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function positive(digits: string | null): number | undefined {
  const value = Number(digits ?? Number.NaN);
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

/** Longest body that is read into memory, in bytes. Preuploads carry a sample of each of their files. */
const LONGEST_BODY = 16 * 2 ** 20;

/** @throws {HubRefusal} 400 if it is not JSON of that form, 413 if it is too long */
export async function readJson<T>(request: HubRequest, schema: z.ZodType<T>): Promise<T> {
  return checked(parseJson(await readText(request)), schema);
}

/** JSON, or `application/x-www-form-urlencoded` where a name can come several times. */
export async function readForm<T>(request: HubRequest, schema: z.ZodType<T>): Promise<T> {
  const text = await readText(request);
  if (!request.header("content-type")?.startsWith("application/x-www-form-urlencoded")) {
    return checked(parseJson(text), schema);
  }
  const form = new URLSearchParams(text);
  const names = [...new Set(form.keys())];
  const value = Object.fromEntries(
    names.map((name) => [name, form.getAll(name).length > 1 ? form.getAll(name) : form.get(name)]),
  );
  return checked(value, schema);
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new HubRefusal(400, "the body is not JSON");
  }
}

export function checked<T>(value: unknown, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const place = issue?.path.length ? ` at ${issue.path.map(String).join(".").slice(0, 100)}` : "";
  throw new HubRefusal(400, `the body is not what this address takes${place}: ${issue?.message.slice(0, 200) ?? ""}`);
}

async function readText(request: HubRequest): Promise<string> {
  return (await readBytes(request, LONGEST_BODY)).toString("utf8");
}

/** @throws {HubRefusal} 413 if it is longer than `most` bytes */
export async function readBytes(request: HubRequest, most: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const bytes of request.body) {
    size += bytes.length;
    if (size > most) throw new HubRefusal(413, `the body is longer than ${most} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

/** Codes of `X-Error-Code`, spelt as huggingface.co spells them. */
export type ErrorCode = "RepoNotFound" | "RevisionNotFound" | "EntryNotFound" | "GatedRepo";

export class HubRefusal extends Error {
  override readonly name = "HubRefusal";
  readonly status: number;
  readonly code: ErrorCode | undefined;

  constructor(status: number, message: string, code?: ErrorCode) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Errors of the disk that are the folder's state, not a fault of the server. */
const DISK_REFUSALS: Record<string, [status: number, line: string]> = {
  ENOSPC: [507, "no space is left on the Hub's disk; nothing was changed"],
  EDQUOT: [507, "the quota of the Hub's disk is used up; nothing was changed"],
  EFBIG: [507, "the Hub's disk takes no file that large; nothing was changed"],
  EROFS: [403, "the Hub's folder is read-only; it can be read but not written"],
  EACCES: [403, "the Hub may not write to its folder; it can be read but not written"],
  EPERM: [403, "the Hub may not write to its folder; it can be read but not written"],
  ENOTDIR: [403, "the Hub's folder cannot be written: a file is where a folder should be"],
  ENAMETOOLONG: [400, "a name is longer than the Hub's disk takes"],
  EMFILE: [503, "the Hub has too many files open; try again"],
  ENFILE: [503, "the Hub has too many files open; try again"],
};

/** A refusal for whatever was thrown; undefined for a fault that the client must not see. */
export function refusalFor(error: unknown): HubRefusal | undefined {
  if (error instanceof HubRefusal) return error;
  const entry = DISK_REFUSALS[(error as NodeJS.ErrnoException | undefined)?.code ?? ""];
  return entry && new HubRefusal(...entry);
}
