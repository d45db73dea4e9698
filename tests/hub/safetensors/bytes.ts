// Safetensors files made by hand, so that they can be wrong in any way.

/** The bytes of a file with this header and a buffer of so many bytes, numbered from 0. */
export function fileBytes(header: string | Uint8Array, bufferBytes = 0, { length }: { length?: bigint } = {}) {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + bufferBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  bytes.set(json, 8);
  for (let i = 0; i < bufferBytes; i++) bytes[8 + json.length + i] = i;
  return bytes;
}

/** A header's entry. */
export function entry(dtype: unknown, shape: unknown, offsets: unknown): string {
  return JSON.stringify({ dtype, shape, data_offsets: offsets });
}
