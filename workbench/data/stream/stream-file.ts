// The files of a stream and how they are divided. A stream has a fixed number of lanes, one for each micro-batch of a step,
// and each row group belongs to one lane. So what a step reads does not depend on the number of processes.

import type { ByteSource } from "../../../hub/files/byte-source.ts";
import { eachOf } from "../../../hub/request/emitting.ts";
import { dealtBySize } from "../../distributed/shares.ts";
import { formatOf } from "../dataset/conventions.ts";
import { openParquetSource, type ParquetFile } from "../dataset/parquet-file.ts";
import { DataError } from "../errors.ts";

/** A parquet file on the disk or on the Hub. */
export interface StreamFile {
  /** path in the data set */
  name: string;
  /** in bytes */
  size: number;
  open(): Promise<ByteSource>;
}

/** Row groups of a file, such as those that one lane reads. */
export interface StreamShare {
  file: StreamFile;
  /** numbers of the row groups. Default: all of the file */
  groups?: number[];
}

/** Opens a file of a stream. The caller closes it. @throws DataError if it is not a parquet file */
export async function openStreamFile(file: StreamFile): Promise<ParquetFile> {
  expectParquet(file);
  return openParquetSource(await file.open(), file.name);
}

/** A row group that has rows. */
export interface SizedGroup {
  /** number of the row group in its file */
  group: number;
  rows: number;
  /** before compression */
  bytes: number;
}

/** The row groups of a file that have rows. @throws DataError if it is not a parquet file */
export type RowGroupsOf = (file: StreamFile) => Promise<readonly SizedGroup[]>;

/**
 * Reads the row groups' sizes, which are at the end of a file, of each file once.
 * @param check called with each file when it is open
 */
export function rowGroupReader(check: (file: ParquetFile) => void = () => {}): RowGroupsOf {
  const known = new Map<StreamFile, Promise<SizedGroup[]>>();
  const read = async (file: StreamFile): Promise<SizedGroup[]> => {
    const opened = await openStreamFile(file);
    try {
      check(opened);
      return opened.rowGroups.flatMap((sizes, group) => (sizes.rows > 0 ? [{ ...sizes, group }] : []));
    } finally {
      await opened.close();
    }
  };
  return (file) => {
    const groups = known.get(file) ?? read(file);
    known.set(file, groups);
    return groups;
  };
}

/** Number of files whose ends are read at the same time. */
const CONNECTIONS = 8;

/** The row groups of shares, file by file. @throws DataError if a file is not a parquet file */
export async function groupsIn(shares: readonly StreamShare[], rowGroupsOf: RowGroupsOf): Promise<SizedGroup[][]> {
  const found: SizedGroup[][] = [];
  await eachOf([...shares.entries()], { connections: CONNECTIONS }, async ([i, { file, groups }]) => {
    found[i] = (await rowGroupsOf(file)).filter(({ group }) => groups?.includes(group) ?? true);
  });
  return found;
}

/** For so many files a lane, whole files divide the data evenly enough. */
const FILES_EACH = 8;
/** From so many files on, reading the end of each, with the sizes of its row groups, would take too long. */
const MOST_OPENED = 256;

/** The lanes among which files are divided. */
export interface LaneSizes {
  /** micro-batches of a step, each of which reads a lane of its own */
  lanes: number;
  /** items that the last lane gives a step, for one of each other lane: its micro-batch may be smaller. Default 1 */
  last?: number | undefined;
}

/**
 * Divides files over lanes: largest first, each to the lane with the fewest bytes. Few files are divided by row groups.
 * @returns for each lane what it reads, in the order of the files
 * @throws DataError if a file is not a parquet file, or there are fewer row groups than lanes
 */
export async function divided(
  shares: readonly StreamShare[],
  { lanes, last, rowGroupsOf }: LaneSizes & { rowGroupsOf: RowGroupsOf },
): Promise<StreamShare[][]> {
  for (const { file } of shares) expectParquet(file);
  if (shares.length >= lanes && (shares.length >= FILES_EACH * lanes || shares.length > MOST_OPENED)) {
    const parts = shares.map((share) => ({ bytes: share.file.size, share }));
    return dealt(parts, { lanes, last }).map((lane) => lane.map(({ share }) => share));
  }
  const groups = await groupsIn(shares, rowGroupsOf);
  const parts = shares.flatMap(({ file }, i) =>
    (groups[i] as SizedGroup[]).map(({ bytes, group }) => ({ bytes, group, file })),
  );
  if (parts.length < lanes) {
    throw new DataError(
      shares[0]?.file.name ?? "the data set",
      `cannot be streamed: the ${parts.length} row groups of the split are fewer than the ${lanes} micro-batches of a step, which read them in turn; leave out --stream, or give a larger --micro-batch`,
    );
  }
  return dealt(parts, { lanes, last }).map(byFile);
}

/**
 * Holds out the last row group of the last file that has rows. Files after it are left out.
 * @throws DataError if it is the only one
 */
export async function holdOutLast(files: readonly StreamFile[]): Promise<{ held: StreamShare; rest: StreamShare[] }> {
  const rowGroupsOf = rowGroupReader();
  let end = files.length;
  while (end > 1 && (await rowGroupsOf(files[end - 1] as StreamFile)).length === 0) end--;
  const last = files[end - 1] as StreamFile;
  const others = files.slice(0, end - 1).map((file) => ({ file }));
  const numbers = (await rowGroupsOf(last)).map(({ group }) => group);
  const held = { file: last, groups: numbers.slice(-1) };
  if (numbers.length > 1) return { held, rest: [...others, { file: last, groups: numbers.slice(0, -1) }] };
  if (others.length > 0) return { held, rest: others };
  throw new DataError(last.name, "has one row group only, so none can be held out; evaluate on another split");
}

const NOT_PARQUET = "cannot be streamed: only parquet files can be read in parts; leave out --stream";

function expectParquet({ name }: StreamFile): void {
  if (!name.toLowerCase().endsWith(".parquet")) throw new DataError(name, NOT_PARQUET);
}

/** Checks that a data set has files of rows, and not only images in folders. @throws DataError if it does not */
export function expectRows(paths: readonly string[], dataset: string): void {
  if (paths.every((path) => formatOf(path) === undefined)) throw new DataError(dataset, NOT_PARQUET);
}

interface GroupPart {
  bytes: number;
  file: StreamFile;
  group: number;
}

/** The parts of each lane, in their order. */
function dealt<Part extends { bytes: number }>(parts: readonly Part[], { lanes, last }: LaneSizes): Part[][] {
  const laneOf = dealtBySize(
    parts.map(({ bytes }) => bytes),
    lanes,
    last,
  );
  return Array.from({ length: lanes }, (_, lane) => parts.filter((_part, i) => laneOf[i] === lane));
}

function byFile(parts: readonly GroupPart[]): StreamShare[] {
  const files = [...new Set(parts.map(({ file }) => file))];
  return files.map((file) => ({ file, groups: parts.filter((part) => part.file === file).map(({ group }) => group) }));
}
