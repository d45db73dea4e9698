// Bodies of requests that are read whole: JSON, a form as Python sends it, or bytes, of bounded size. Bodies that are files
// are never read here.

import type { z } from "zod";
import { HubRefusal } from "./refusal.ts";
import type { HubRequest } from "./reply.ts";

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
