// Random tensors for property tests: any type, any small shape, any bits.

import fc from "fast-check";
import type { Dtype, StoredTensor } from "../../../hub/safetensors/index.ts";
import { byteLengthOf, DTYPES, viewTensor } from "../../../hub/safetensors/types.ts";

const DTYPE_NAMES = Object.keys(DTYPES) as Dtype[];

export const anyTensor: fc.Arbitrary<StoredTensor> = fc
  .record({
    dtype: fc.constantFrom(...DTYPE_NAMES),
    shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
    seed: fc.integer(),
  })
  .map(({ dtype, shape, seed }) => {
    const byteLength = byteLengthOf(dtype, shape) as number;
    const bytes = Uint8Array.from({ length: byteLength }, (_, i) => (seed * (i + 1) * 31 + (seed >> 8)) & 0xff);
    return viewTensor({ dtype, shape }, bytes);
  });

/** Names of tensors: whatever is well-formed Unicode. */
export const anyName = fc
  .oneof(fc.string({ unit: "grapheme", maxLength: 12 }), fc.constantFrom("__proto__", "0", "h.0.attn.c_attn.weight"))
  .filter((name) => name.isWellFormed() && name !== "__metadata__");

export const anyTensors = fc
  .uniqueArray(fc.tuple(anyName, anyTensor), { selector: ([name]) => name, maxLength: 8 })
  .map((tensors) => new Map(tensors));

/** Bits of every tensor by name, in the order of names: what must not change on the way. */
export function bitsByName(tensors: ReadonlyMap<string, StoredTensor>) {
  return [...tensors]
    .map(([name, { dtype, shape, data }]) => {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return { name, dtype, shape: [...shape], bytes: Buffer.from(bytes).toString("hex") };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
