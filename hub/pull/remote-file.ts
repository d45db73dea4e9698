// Random access to a file on the Hub by range requests. Only the requested bytes are transferred, and nothing is
// stored. The hash of the whole file cannot be checked, so this is for inspecting files, not for using them.

import { HubError } from "../access/hub-error.ts";
import { formatRepoName } from "../access/repository.ts";
import type { RepoFile } from "../cache/listing.ts";
import type { ByteSource } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { hostOf, type RequestContext, resolveUrl } from "../request/context.ts";
import { wrongRange } from "../request/failures.ts";
import { hubFetch } from "../request/hub-fetch.ts";

/**
 * Smallest request in bytes. Most headers are shorter, so that the request for the length of the header also fetches
 * the header.
 */
const LEAST_BYTES = 2 ** 16;
/**
 * Largest request in bytes. A longer range, such as the images of a row group, takes several: an answer is repeated as a
 * whole if its connection breaks, and hubFetch refuses very long ones.
 */
const MOST_BYTES = 2 ** 26;

/** A byte source whose reads throw HubError. */
export function remoteFile(file: RepoFile, commit: string, context: RequestContext): ByteSource {
  const name = `${formatRepoName(context.repo)}: ${quote(file.path)}`;
  const ask = hubFetch(context, { fileOf: () => file.path });
  let near = { start: 0, bytes: new Uint8Array(0) };
  const fetchRange = async (start: number, length: number) => {
    const range = `bytes=${start}-${start + length - 1}`;
    const headers = { range, "accept-encoding": "identity" };
    const response = await ask(resolveUrl(file.path, commit, context), { headers });
    const body = new Uint8Array(await response.arrayBuffer());
    // A server may ignore the range and send the whole file.
    const bytes = response.status === 206 ? body : body.subarray(start, start + length);
    const ended =
      bytes.byteLength === length ? undefined : `${length} bytes were requested, ${bytes.byteLength} arrived`;
    const wrong = (response.status === 206 && wrongRange(response, { start, size: file.size })) || ended;
    if (!wrong) return bytes;
    throw new HubError("corrupt", `${name} arrived damaged from ${hostOf(context.access)} (${wrong}); try again`);
  };
  const fetchLong = async (start: number, length: number) => {
    const whole = new Uint8Array(length);
    for (let at = 0; at < length; at += MOST_BYTES)
      whole.set(await fetchRange(start + at, Math.min(MOST_BYTES, length - at)), at);
    return whole;
  };
  const read = async (start: number, length: number) => {
    if (start + length > file.size) throw new HubError("corrupt", `${name} ends at byte ${file.size}`);
    // What is long is not kept, as the caller has it.
    if (length > LEAST_BYTES) return fetchLong(start, length);
    if (start < near.start || start + length > near.start + near.bytes.byteLength) {
      near = { start, bytes: await fetchRange(start, Math.min(LEAST_BYTES, file.size - start)) };
    }
    return near.bytes.slice(start - near.start, start - near.start + length);
  };
  return { size: file.size, read, close: async () => {} };
}
