// The two forms of a checkpoint file, each as the value that was pickled and the storages behind it: a zip archive (PyTorch
// 1.6 and newer) here, the form before it in legacy.ts.

import type { ByteSource, Fail } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { elementBytes, storageElement } from "./globals.ts";
import { MAX_PICKLE_BYTES, type PickleOptions, type Unpickled, unpickle } from "./pickle.ts";
import { EndOfPickle } from "./pickle-reader.ts";
import { Dict, type ElementType, Global, itemsOf, type PickleValue, StorageView } from "./pickle-values.ts";
import { entryStorage, fileStorage, readRange, type Storage } from "./storage.ts";
import { beginsLikeZip, openZip, type ZipEntry } from "./zip.ts";

export interface Archive {
  /** what was given to torch.save */
  root: PickleValue;
  /** @returns undefined where the file has no such storage */
  storage(key: string): Storage | undefined;
}

export async function readArchive(source: ByteSource, fail: Fail): Promise<Archive> {
  if (source.size === 0) throw fail("is empty");
  const beginning = await source.read(0, Math.min(4, source.size));
  return beginsLikeZip(beginning) ? readZip(source, fail) : readLegacy(source, fail);
}

async function readZip(source: ByteSource, fail: Fail): Promise<Archive> {
  const archive = await openZip(source, fail);
  const storageOf = (entry: ZipEntry) => entryStorage(entry, { source, archive, fail });
  const folder = folderOf(archive.entries, fail);
  const text = async (name: string) => {
    const entry = archive.entries.get(`${folder}/${name}`);
    if (!entry || entry.size > 100) return undefined;
    return new TextDecoder().decode(await readRange(storageOf(entry), { start: 0, end: entry.size })).trim();
  };
  const byteOrder = (await text("byteorder")) ?? "little";
  if (byteOrder !== "little") throw fail(`its byte order is ${quote(byteOrder)}; only little-endian files are read`);
  const storages = new Map<string, Storage | undefined>();
  return {
    root: await readPickle(archive.entries.get(`${folder}/data.pkl`) as ZipEntry, { storageOf, fail }),
    storage: (key) => {
      const entry = archive.entries.get(`${folder}/data/${key}`);
      if (entry && !storages.has(key)) storages.set(key, storageOf(entry)); // one each: it remembers its checksum
      return storages.get(key);
    },
  };
}

/** The folder that every entry is in; writers name it after the file, or `archive`. */
function folderOf(entries: ReadonlyMap<string, ZipEntry>, fail: Fail): string {
  const folders = [...entries.keys()].flatMap((name) => /^([^/]+)\/data\.pkl$/.exec(name)?.[1] ?? []);
  const [folder] = folders;
  if (folder === undefined || folders.length > 1) {
    throw fail("is a zip archive and no PyTorch checkpoint: it has no data.pkl of its own");
  }
  if (entries.has(`${folder}/constants.pkl`)) {
    throw fail("is a TorchScript program, not a checkpoint; save its state_dict with torch.save");
  }
  return folder;
}

async function readPickle(
  entry: ZipEntry,
  { storageOf, fail }: { storageOf: (entry: ZipEntry) => Storage; fail: Fail },
): Promise<PickleValue> {
  if (entry.size > MAX_PICKLE_BYTES) throw fail(`a pickle of ${entry.size} bytes is longer than ${MAX_PICKLE_BYTES}`);
  const bytes = await readRange(storageOf(entry), { start: 0, end: entry.size });
  try {
    return unpickle(bytes, { fail, persistent: (id) => resolveStorage(id, fail) }).value;
  } catch (error) {
    throw error instanceof EndOfPickle ? fail(`pickle: ${error.message}, in the middle`, { cause: error }) : error;
  }
}

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

/**
 * @param id ("storage", type, key, location, elements), and in legacy files a sixth: None or (key, offset, elements) of a
 *   view; or ("module", class, …), a class with its source, which is not looked at
 * @throws what `fail` makes for any other
 */
export function resolveStorage(id: PickleValue, fail: Fail): StorageView | Global {
  const [kind, type, key, , length, view] = itemsOf(id) ?? [];
  if (kind === "module" && type instanceof Global) return type;
  if (kind !== "storage" || !(type instanceof Global) || typeof key !== "string" || !isCount(length)) {
    throw fail("pickle: a persistent id names no storage");
  }
  const element = storageElement(type);
  if (view === undefined || view === null) return new StorageView({ key, element, length, offset: 0 });
  const [, offset, viewLength] = itemsOf(view) ?? [];
  if (!isCount(offset) || !isCount(viewLength) || offset + viewLength > length) {
    throw fail(`storage ${JSON.stringify(key)}: a view of it lies outside`);
  }
  return new StorageView({ key, element, length: viewLength, offset });
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
