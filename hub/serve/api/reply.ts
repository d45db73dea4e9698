// Requests and replies as the handlers see them, without sockets: bodies that are read whole (JSON, forms, bytes,
// with a size limit), and lists in pages. Bodies that are files are streamed instead.

import type { z } from "zod";
import { HubRefusal } from "../store/refusal.ts";
import type { Caller } from "./permissions.ts";

/** A request, with its sender identified. */
export interface HubRequest {
  method: string;
  /** decoded segments of the path */
  segments: string[];
  query: URLSearchParams;
  /** value of a header, by its name in lower case */
  header(name: string): string | undefined;
  body: AsyncIterable<Uint8Array>;
  /** address of this Hub as the client used it, without a trailing slash */
  base: string;
  /** path and query, undecoded */
  target: string;
  caller: Caller | undefined;
}

/** An answer. */
export interface HubReply {
  status: number;
  headers?: Record<string, string>;
  /** text, or bytes on request. Undefined for an empty body */
  body?: string | ByteBody;
}

/** A body that is streamed. */
export interface ByteBody {
  length: number;
  /** called unless only the headers are wanted (HEAD) */
  read(): AsyncIterable<Uint8Array>;
  /** always called at the end */
  close(): Promise<void>;
}

/** A reply with a JSON body. */
export function json(value: unknown, { status = 200, headers = {} }: Omit<Partial<HubReply>, "body"> = {}): HubReply {
  return {
    status,
    headers: { "Content-Type": "application/json; charset=utf-8", ...headers },
    body: JSON.stringify(value),
  };
}

/** A reply with a plain text body. */
export function text(body: string, { status = 200, headers = {} }: Omit<Partial<HubReply>, "body"> = {}): HubReply {
  return { status, headers: { "Content-Type": "text/plain; charset=utf-8", ...headers }, body };
}

interface PageOptions<T> {
  /** sorted by key */
  items: readonly T[];
  /** position in the order; it must not change between requests */
  key(item: T): string;
  /** items on a page, unless `limit` asks for fewer */
  most: number;
  /** part of the address of later pages, so that they continue the same list */
  pin?: string;
}

/** One page of a list, with a `Link` header to the next page. The cursor is the key of the last item. */
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

/**
 * The position where a list continues.
 * @throws {HubRefusal} 400 for a cursor that this Hub did not make
 */
export function cursorOf(request: HubRequest): { after: string; pin?: string } | undefined {
  const cursor = request.query.get("cursor");
  if (cursor === null) return undefined;
  try {
    const { after, pin } = JSON.parse(Buffer.from(cursor, "base64url").toString()) as Record<string, unknown>;
    if (typeof after === "string" && (pin === undefined || typeof pin === "string"))
      return { after, ...(pin && { pin }) };
  } catch {}
  throw new HubRefusal(400, "this Hub did not make this cursor; start the list again");
}

/** First index whose item is not `before`, by binary search. */
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

function positive(digits: string | null): number | undefined {
  const value = Number(digits ?? Number.NaN);
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

/** Longest body that is read into memory, in bytes. A preupload has a sample of each file. */
const LONGEST_BODY = 16 * 2 ** 20;

/**
 * Reads a JSON body.
 * @throws {HubRefusal} 400 if it does not match the schema, 413 if it is too long
 */
export async function readJson<T>(request: HubRequest, schema: z.ZodType<T>): Promise<T> {
  return checked(parseJson(await readText(request)), schema);
}

/**
 * Reads JSON, or `application/x-www-form-urlencoded`, where a repeated name gives a list. Python's client sends
 * forms.
 */
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

/**
 * Parses a body.
 * @throws {HubRefusal} 400
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new HubRefusal(400, "the body is not JSON");
  }
}

/** Checks a value against a schema. @throws {HubRefusal} 400 */
export function checked<T>(value: unknown, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const place = issue?.path.length ? ` at ${issue.path.map(String).join(".").slice(0, 100)}` : "";
  throw new HubRefusal(400, `the body is not what this address accepts${place}: ${issue?.message.slice(0, 200) ?? ""}`);
}

async function readText(request: HubRequest): Promise<string> {
  return (await readBytes(request, LONGEST_BODY)).toString("utf8");
}

/**
 * Reads a body into memory.
 * @throws {HubRefusal} 413 if it is longer than `most` bytes
 */
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
