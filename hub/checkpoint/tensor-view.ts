// A tensor's description held against the storage that it views: every number checked, then its elements read in
// row-major order whatever its strides. Says what is wrong; whose tensor it is, the caller knows.

import type { Fail } from "../files/byte-source.ts";
import { bitsOf, byteLengthOf, lengthProblem, type TensorInfo } from "../safetensors/types.ts";
import { elementBytes } from "./globals.ts";
import { itemsOf, type PickleValue, type TensorView } from "./pickle-values.ts";
import { type Range, readRange, type Storage } from "./storage.ts";

export interface LocatedTensor extends TensorInfo {
  storage: Storage;
  /** the bytes of the storage that its elements lie in */
  span: Range;
  /** in elements, one for each side */
  strides: readonly number[];
  /** whether the elements lie in row-major order without gaps */
  contiguous: boolean;
  /** the same for tensors that are the same view of the same bytes */
  identity: string;
}

/** Bytes that a tensor may take beyond those of its storage: strides of 0 can make terabytes of one element. */
const MAX_EXPANDED_BYTES = 2 ** 30;

export interface LocateOptions {
  storage(key: string): Storage | undefined;
  fail: Fail;
}

/** @throws what `fail` makes when the view is not inside a storage that the file has */
export function locateTensor(view: TensorView, { storage: find, fail }: LocateOptions): LocatedTensor {
  const { element } = view;
  if (!element) throw fail("its storage has no type");
  if ("unsupported" in element) throw fail(`elements of ${element.unsupported} have no place in safetensors`);
  const { dtype } = element;
  const bytes = bitsOf(dtype) / 8;
  const shape = counts(view.shape);
  const strides = counts(view.strides);
  if (!shape || !strides || shape.length !== strides.length) throw fail("its shape or its strides are no sizes");
  if (!isCount(view.offset)) throw fail(`its offset is ${numberText(view.offset)}`);
  const byteLength = byteLengthOf(dtype, shape);
  if (byteLength === undefined) throw fail(lengthProblem(dtype, shape));
  const storage = checkedStorage(view, { storage: find, fail });
  const start = view.storage.offset * (elementBytes(view.storage.element) ?? bytes) + view.offset * bytes;
  const reach = shape.reduce((reach, side, i) => reach + (side - 1) * (strides[i] as number), 1) * bytes;
  const span = byteLength === 0 ? { start: 0, end: 0 } : { start, end: start + reach };
  checkSpan(span, { view, storage, bytes, fail });
  if (byteLength > Math.max(storage.byteLength, MAX_EXPANDED_BYTES)) {
    throw fail(`expands ${storage.byteLength} bytes to ${byteLength}`);
  }
  const contiguous = byteLength === 0 || isContiguous(shape, strides);
  const identity = JSON.stringify([view.storage.key, dtype, span, shape, strides]);
  return { dtype, shape, byteLength, storage, span, strides, contiguous, identity };
}

function checkedStorage({ storage: declared }: TensorView, { storage: find, fail }: LocateOptions): Storage {
  const key = JSON.stringify(declared.key);
  const storage = find(declared.key);
  if (!storage) throw fail(`storage ${key} is missing from the file`);
  const needed = (declared.offset + declared.length) * (elementBytes(declared.element) ?? 1);
  if (storage.byteLength < needed) {
    throw fail(`storage ${key} has ${storage.byteLength} bytes, where ${needed} are declared`);
  }
  return storage;
}

interface SpanOptions {
  view: TensorView;
  storage: Storage;
  /** of an element */
  bytes: number;
  fail: Fail;
}

/** The end is the view's storage where it is declared shorter than the one that it is a part of. */
function checkSpan({ end }: Range, { view, storage, bytes, fail }: SpanOptions): void {
  const { offset, length, element } = view.storage;
  const limit = Math.min(storage.byteLength, (offset + length) * (elementBytes(element) ?? bytes));
  if (!Number.isSafeInteger(end) || end > limit) {
    throw fail(`reaches ${end} bytes into storage ${JSON.stringify(view.storage.key)}, which has ${limit}`);
  }
}

/** Row-major bytes, piece by piece. What is not contiguous is gathered in memory, with the span that it lies in. */
export async function* streamTensor(tensor: LocatedTensor): AsyncGenerator<Uint8Array> {
  if (tensor.byteLength === 0) return;
  if (tensor.contiguous) yield* tensor.storage.stream(tensor.span);
  else yield await gather(tensor);
}

/** Row-major bytes in one array, in a buffer of their own. */
export async function readTensor(tensor: LocatedTensor): Promise<Uint8Array<ArrayBuffer>> {
  return tensor.contiguous ? readRange(tensor.storage, tensor.span) : gather(tensor);
}

const WORDS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const;

async function gather({ dtype, shape, byteLength, storage, span, strides }: LocatedTensor) {
  const bytes = (bitsOf(dtype) / 8) as keyof typeof WORDS;
  const from = new WORDS[bytes]((await readRange(storage, span)).buffer);
  const to = new WORDS[bytes](byteLength / bytes);
  const inner = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  const index = shape.slice(0, -1).fill(0);
  let start = 0;
  for (let at = 0; at < to.length; at += inner) {
    for (let i = 0; i < inner; i++) to[at + i] = from[start + i * step] as never;
    start += advance(index, { shape, strides });
  }
  return new Uint8Array(to.buffer);
}

/** Counts the outer indices up by one row. @returns how far the row's first element moves */
function advance(
  index: number[],
  { shape, strides }: { shape: readonly number[]; strides: readonly number[] },
): number {
  let move = 0;
  for (let side = index.length - 1; side >= 0; side--) {
    const stride = strides[side] as number;
    const now = (index[side] as number) + 1;
    if (now < (shape[side] as number)) {
      index[side] = now;
      return move + stride;
    }
    index[side] = 0;
    move -= (now - 1) * stride;
  }
  return move;
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let side = shape.length - 1; side >= 0; side--) {
    if (shape[side] !== 1 && strides[side] !== expected) return false;
    expected *= shape[side] as number;
  }
  return true;
}

function counts(value: PickleValue): number[] | undefined {
  const items = itemsOf(value);
  return items?.every(isCount) ? (items.slice() as number[]) : undefined;
}

function numberText(value: PickleValue): string {
  return typeof value === "number" || typeof value === "bigint" ? String(value) : "no number";
}

function isCount(value: PickleValue): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
