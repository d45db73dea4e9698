// The form of checkpoints before PyTorch 1.6: five pickles one after the other (a magic number, the version, the writer's
// system, the value, the keys of its storages), then each storage as its length in elements and its bytes.

import type { ByteSource, Fail } from "../files/byte-source.ts";
import type { Archive } from "./archive.ts";
import { elementBytes } from "./globals.ts";
import { MAX_PICKLE_BYTES, type PickleOptions, type Unpickled, unpickle } from "./pickle.ts";
import { EndOfPickle } from "./pickle-reader.ts";
import { Dict, type ElementType, type PickleValue, StorageView } from "./pickle-values.ts";
import { fileStorage, type Storage } from "./storage.ts";
import { resolveStorage } from "./storage-id.ts";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;
/** Bytes of the file that are looked at first; all pickles of most files fit. */
const FIRST_WINDOW = 2 ** 18;
const LENGTH_BYTES = 8;

export async function readLegacy(source: ByteSource, fail: Fail): Promise<Archive> {
  const pickles = await readPickles(source, fail);
  const storages = await findStorages(source, { ...pickles, fail });
  return { root: pickles.root, storage: (key) => storages.get(key) };
}

interface Pickles {
  root: PickleValue;
  keys: string[];
  /** bytes of an element, by storage; undefined where it has no type of ours */
  elements: Map<string, ElementType>;
  /** the byte after the last pickle */
  end: number;
}

/** Where the pickles end is only known when they are read: a window that proves too small is doubled. */
async function readPickles(source: ByteSource, fail: Fail): Promise<Pickles> {
  const most = Math.min(source.size, MAX_PICKLE_BYTES);
  for (let length = Math.min(most, FIRST_WINDOW); ; length = Math.min(most, 2 * length)) {
    try {
      return parsePickles(await source.read(0, length), fail);
    } catch (error) {
      if (!(error instanceof EndOfPickle)) throw error;
      if (length === most) throw fail(`${describe(source.size)}: its pickle ${error.message}`, { cause: error });
    }
  }
}

function describe(size: number): string {
  return size > MAX_PICKLE_BYTES ? "is no PyTorch checkpoint" : "is cut off, or no PyTorch checkpoint";
}

function parsePickles(bytes: Uint8Array, fail: Fail): Pickles {
  const elements = new Map<string, ElementType>();
  const persistent = (id: PickleValue) => {
    const storage = resolveStorage(id, fail);
    if (storage instanceof StorageView) elements.set(storage.key, storage.element);
    return storage;
  };
  let end = 0;
  const next = (options: Partial<PickleOptions> = {}): PickleValue => {
    const read: Unpickled = unpickle(bytes, { start: end, fail, ...options });
    end = read.end;
    return read.value;
  };
  const failAtFirst: Fail = (problem, options) => fail(`is no PyTorch checkpoint: ${problem}`, options);
  if (next({ fail: failAtFirst }) !== MAGIC) throw fail("is a pickle and no PyTorch checkpoint");
  const version = next();
  if (version !== PROTOCOL) throw fail(`is of legacy version ${String(version)}, not ${PROTOCOL}`);
  const system = next();
  if (!(system instanceof Dict) || system.entries.get("little_endian") !== true) {
    throw fail("was written by a big-endian machine; only little-endian files are read");
  }
  const root = next({ persistent });
  const keys = next();
  if (!Array.isArray(keys) || !keys.every((key) => typeof key === "string")) {
    throw fail("its list of storages is damaged");
  }
  return { root, keys, elements, end };
}

async function findStorages(
  source: ByteSource,
  { keys, elements, end, fail }: Pickles & { fail: Fail },
): Promise<Map<string, Storage>> {
  const storages = new Map<string, Storage>();
  let at = end;
  for (const key of keys) {
    const bytes = elements.has(key) ? elementBytes(elements.get(key)) : undefined;
    if (bytes === undefined) throw fail(`storage ${JSON.stringify(key)}: the size of its elements is not known`);
    if (at + LENGTH_BYTES > source.size) throw cutOff(key, fail);
    const start = at + LENGTH_BYTES;
    const length = new DataView((await source.read(at, LENGTH_BYTES)).buffer).getBigInt64(0, true);
    const size = Number(length) * bytes;
    if (size < 0 || start + size > source.size) throw cutOff(key, fail);
    storages.set(key, fileStorage(source, { start, end: start + size }));
    at = start + size;
  }
  return storages;
}

function cutOff(key: string, fail: Fail): Error {
  return fail(`is cut off: storage ${JSON.stringify(key)} ends after the file does`);
}
