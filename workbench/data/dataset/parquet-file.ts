// Reads columns of parquet files, one row group at a time.

import { type DecodedArray, type FileMetaData, parquetMetadataAsync, parquetScan, parquetSchema } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { HubError } from "../../../hub/access/hub-error.ts";
import { type ByteSource, openFile } from "../../../hub/files/byte-source.ts";
import { decodeUtf8 } from "../../../hub/text/utf8.ts";
import { DataError, why } from "../errors.ts";

/** A column of the schema of a parquet file. */
export type ParquetColumn = ReturnType<typeof parquetSchema>["children"][number];

/** An open parquet file. The caller closes it. */
export interface ParquetFile {
  readonly path: string;
  readonly rows: number;
  readonly metadata: FileMetaData;
  readonly columns: readonly ParquetColumn[];
  /** rows of each row group, and their bytes before compression */
  readonly rowGroups: readonly { rows: number; bytes: number }[];
  /**
   * Reads the values of some columns, row group by row group. Other columns are not read.
   * @param options.utf8 whether byte arrays without a declared type are text; if so, text must be UTF-8. Default true
   * @param options.only the row group to read, counted from 0. Default all
   * @throws DataError if the file is damaged, or contains text that is not UTF-8
   */
  groups(names: readonly string[], options?: { utf8?: boolean; only?: number }): AsyncGenerator<RowGroup>;
  close(): Promise<void>;
}

interface RowGroup {
  /** first row in the file, from 0 */
  rowStart: number;
  /** exclusive */
  rowEnd: number;
  /** values of each column, in the order of the names */
  values: DecodedArray[];
}

/** Bytes at the end of a file that are read to open it. More are read only if its metadata are longer. */
const END_BYTES = 2 ** 17;

/** Opens a parquet file. @throws DataError if there is no such file, or it is not a parquet file */
export async function openParquet(path: string): Promise<ParquetFile> {
  return openParquetSource(await openFile(path, (problem, options) => new DataError(path, problem, options)), path);
}

/**
 * Opens a parquet file whose bytes come from anywhere. Closing it closes the source, as does an error.
 * @param path name in messages
 * @throws DataError if it is not a parquet file
 */
export async function openParquetSource(source: ByteSource, path: string): Promise<ParquetFile> {
  try {
    const file = bufferOf(source);
    const metadata = await orDamaged(path, () => parquetMetadataAsync(file, { initialFetchSize: END_BYTES }));
    const rowGroups = metadata.row_groups.map((group) => ({
      rows: Number(group.num_rows),
      bytes: Number(group.total_byte_size),
    }));
    const bad = rowGroups.findIndex(({ rows }) => !Number.isSafeInteger(rows) || rows < 0);
    if (bad >= 0)
      throw new DataError(path, `is damaged: row group ${bad} has ${rowGroups[bad]?.rows} rows; fetch it again`);
    const endOf = (group: number) => rowGroups.slice(0, group + 1).reduce((sum, { rows }) => sum + rows, 0);
    return {
      path,
      rows: Number(metadata.num_rows),
      metadata,
      rowGroups,
      columns: parquetSchema(metadata).children,
      groups: async function* (names, { utf8 = true, only } = {}) {
        const columns = [...names];
        let place = "";
        const stringFromBytes = (bytes: Uint8Array | undefined) =>
          bytes && decodeUtf8(bytes, (position, found) => notUtf8(path, { place, position, found }));
        const parsers = utf8 ? { stringFromBytes } : {};
        const scan = await orDamaged(path, () => parquetScan({ file, metadata, compressors, columns, utf8, parsers }));
        for (const { rowStart, rowEnd } of scan.ranges) {
          // Row groups without rows begin where the next one does.
          if (only !== undefined && (rowStart !== endOf(only - 1) || rowEnd !== endOf(only))) continue;
          const values: DecodedArray[] = [];
          for (const column of columns) {
            place = `column ${JSON.stringify(column)}, rows ${rowStart} to ${rowEnd}`;
            const read = await orDamaged(path, () => scan.readColumn({ column, rowStart, rowEnd }));
            if (read.length !== rowEnd - rowStart) {
              const rows = `rows ${rowStart} to ${rowEnd}`;
              throw new DataError(path, `is damaged: ${rows} have ${read.length} values; fetch it again`);
            }
            values.push(read);
          }
          yield { rowStart, rowEnd, values };
        }
      },
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

function notUtf8(path: string, text: { place: string; position: number; found: string }): DataError {
  const { place, position, found } = text;
  const problem = `${place}: a text is not UTF-8 at byte ${position} (${found})`;
  return new DataError(path, `${problem}; write the file again with valid UTF-8`);
}

/** The source in the form of the library: `slice` with an optional end, and a negative start counted from the end. */
function bufferOf(source: ByteSource) {
  const slice = async (start: number, end: number = source.size) => {
    const from = start < 0 ? Math.max(0, source.size + start) : start;
    return (await source.read(from, Math.max(0, Math.min(end, source.size) - from))).buffer;
  };
  return { byteLength: source.size, slice };
}

/** Reports an error of the library as a damaged file. */
async function orDamaged<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof DataError) throw error;
    if (error instanceof HubError) throw new DataError(path, `cannot be read: ${error.message}`, { cause: error });
    throw new DataError(path, `is not a parquet file, or is damaged: ${why(error)}; fetch it again`, { cause: error });
  }
}
