// The two containers of a checkpoint: torch.save writes a zip archive since PyTorch 1.6 (torch/serialization.py,
// `_save`), and wrote the legacy format before (`_legacy_save`). A zip archive has the pickle as data.pkl and each
// storage as an entry. A legacy file has five pickles in sequence (a magic number, the version, the writer's system,
// the value, the keys of the storages), then each storage as a 64-bit count of elements followed by its bytes.

import type { ByteSource, Fail } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { elementBytes, storageElement } from "./globals.ts";
import { MAX_PICKLE_BYTES, type PickleOptions, type Unpickled, unpickle } from "./pickle.ts";
import { EndOfPickle } from "./pickle-reader.ts";
import { Dict, type ElementType, Global, isCount, itemsOf, type PickleValue, StorageView } from "./pickle-values.ts";
import { entryStorage, fileStorage, readRange, type Storage } from "./storage.ts";
import { beginsLikeZip, openZip, type ZipEntry } from "./zip.ts";

/** The content of a checkpoint file. */
export interface Archive {
  /** the value that was passed to torch.save */
  root: PickleValue;
  /** Finds a storage by its key. Undefined if the file does not have it. */
  storage(key: string): Storage | undefined;
}

/**
 * Reads the pickled value and finds the storages.
 * @throws the error made by `fail` when the file is not a checkpoint or is damaged
 */
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
      // One object for each storage, because the object remembers that its checksum was verified.
      if (entry && !storages.has(key)) storages.set(key, storageOf(entry));
      return storages.get(key);
    },
  };
}

/** The folder that contains all entries. Writers name it after the file, or `archive`. */
function folderOf(entries: ReadonlyMap<string, ZipEntry>, fail: Fail): string {
  const folders = [...entries.keys()].flatMap((name) => /^([^/]+)\/data\.pkl$/.exec(name)?.[1] ?? []);
  const [folder] = folders;
  if (folder === undefined || folders.length > 1) {
    throw fail("is a zip archive but not a PyTorch checkpoint: it does not have exactly one data.pkl");
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
    throw error instanceof EndOfPickle
      ? fail(`pickle: ${error.message}, before its last opcode`, { cause: error })
      : error;
  }
}

/** Magic number of the legacy format (torch/serialization.py). */
const MAGIC = 0x1950a86a20f9469cfc6cn;
/** Version of the legacy format. */
const PROTOCOL = 1001;
/** Length of the first read, in bytes. The pickles of most files fit into it. */
const FIRST_WINDOW = 2 ** 18;
/** Bytes of the element count in front of each storage. */
const LENGTH_BYTES = 8;

async function readLegacy(source: ByteSource, fail: Fail): Promise<Archive> {
  const pickles = await readPickles(source, fail);
  const storages = await findStorages(source, { ...pickles, fail });
  return { root: pickles.root, storage: (key) => storages.get(key) };
}

interface Pickles {
  root: PickleValue;
  keys: string[];
  /** element type by the key of the storage */
  elements: Map<string, ElementType>;
  /** end of the last pickle, exclusive */
  end: number;
}

/**
 * Reads the pickles. Their total length is unknown until they are parsed, so the window is doubled when it is too
 * small.
 */
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
  return size > MAX_PICKLE_BYTES ? "is not a PyTorch checkpoint" : "is cut off, or not a PyTorch checkpoint";
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
  const failAtFirst: Fail = (problem, options) => fail(`is not a PyTorch checkpoint: ${problem}`, options);
  if (next({ fail: failAtFirst }) !== MAGIC) throw fail("is a pickle but not a PyTorch checkpoint");
  const version = next();
  if (version !== PROTOCOL) throw fail(`has legacy version ${String(version)}, not ${PROTOCOL}`);
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
  return fail(`is cut off: storage ${JSON.stringify(key)} ends after the end of the file`);
}

/**
 * Turns a persistent id into a reference to a storage.
 * @param id ("storage", type, key, location, elements); legacy files may add a sixth item, None or (key, offset,
 * elements) of a view. ("module", class, …) names a class with its source, which is ignored
 * @throws the error made by `fail` for any other id
 */
function resolveStorage(id: PickleValue, fail: Fail): StorageView | Global {
  const [kind, type, key, , length, view] = itemsOf(id) ?? [];
  if (kind === "module" && type instanceof Global) return type;
  if (kind !== "storage" || !(type instanceof Global) || typeof key !== "string" || !isCount(length)) {
    throw fail("pickle: a persistent id does not name a storage");
  }
  const element = storageElement(type);
  if (view === undefined || view === null) return new StorageView({ key, element, length, offset: 0 });
  const [, offset, viewLength] = itemsOf(view) ?? [];
  if (!isCount(offset) || !isCount(viewLength) || offset + viewLength > length) {
    throw fail(`storage ${JSON.stringify(key)}: a view of it exceeds it`);
  }
  return new StorageView({ key, element, length: viewLength, offset });
}
