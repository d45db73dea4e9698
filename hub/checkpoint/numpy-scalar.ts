// Numbers that NumPy pickled, such as a best loss in a trainer's state. Arrays are in numpy-array.ts.

import { Instance, itemsOf, type PickleValue } from "./pickle-values.ts";

type Read = (view: DataView) => PickleValue;

const integer = (value: bigint) => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

const KINDS: Readonly<Record<string, { bytes: number; read: Read }>> = {
  f8: { bytes: 8, read: (view) => view.getFloat64(0, true) },
  f4: { bytes: 4, read: (view) => view.getFloat32(0, true) },
  i8: { bytes: 8, read: (view) => integer(view.getBigInt64(0, true)) },
  i4: { bytes: 4, read: (view) => view.getInt32(0, true) },
  i2: { bytes: 2, read: (view) => view.getInt16(0, true) },
  i1: { bytes: 1, read: (view) => view.getInt8(0) },
  u8: { bytes: 8, read: (view) => integer(view.getBigUint64(0, true)) },
  u4: { bytes: 4, read: (view) => view.getUint32(0, true) },
  u2: { bytes: 2, read: (view) => view.getUint16(0, true) },
  u1: { bytes: 1, read: (view) => view.getUint8(0) },
  b1: { bytes: 1, read: (view) => view.getUint8(0) !== 0 },
};

/**
 * The number of `numpy.core.multiarray.scalar(dtype, bytes)`, or a record where its type is none of the usual.
 * @returns undefined for arguments that the function does not take
 */
export function numpyScalar(args: readonly PickleValue[]): PickleValue | undefined {
  const [type, bytes] = args;
  if (!(type instanceof Instance) || type.className !== "numpy.dtype" || !(bytes instanceof Uint8Array))
    return undefined;
  const name = type.args[0];
  const kind = typeof name === "string" && Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  const bigEndian = itemsOf(type.state)?.[1] === ">";
  if (!kind || bigEndian || kind.bytes !== bytes.byteLength) return new Instance("numpy.generic", args);
  return kind.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
