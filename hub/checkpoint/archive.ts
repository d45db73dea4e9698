// The two forms of a checkpoint file, each as the value that was pickled and the storages behind it: a zip archive (PyTorch
// 1.6 and newer) here, the form before it in legacy.ts.

import type { ByteSource, Fail } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { readLegacy } from "./legacy.ts";
import { MAX_PICKLE_BYTES, unpickle } from "./pickle.ts";
import { EndOfPickle } from "./pickle-reader.ts";
import type { PickleValue } from "./pickle-values.ts";
import { entryStorage, readRange, type Storage } from "./storage.ts";
import { resolveStorage } from "./storage-id.ts";
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
