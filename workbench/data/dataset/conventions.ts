// What a file of a data set is when no README says it: the Hub's conventions on names. The split is in the file's name
// or in that of a folder (`data/train-00000-of-00002.parquet`, `en/test/0.parquet`, `valid.txt`), other folders are
// the configuration. Nothing is opened.

/** Formats that are read, the one preferred first where a split is there in several. */
const FORMATS = ["parquet", "jsonl", "ndjson", "json", "txt"] as const;
type Format = (typeof FORMATS)[number];

const SPLITS: ReadonlyMap<string, string> = new Map([
  ["train", "train"],
  ["training", "train"],
  ["validation", "validation"],
  ["valid", "validation"],
  ["val", "validation"],
  ["dev", "validation"],
  ["test", "test"],
  ["testing", "test"],
  ["eval", "test"],
  ["evaluation", "test"],
]);

/** Files beside the data that have a data file's ending. */
const NOT_DATA =
  /(^|\/)(\.[^/]*|(dataset_infos?|state|dataset_dict|config|package|tokenizer.*)\.json|(readme|license|requirements|citation|notice)[^/]*\.txt)$/i;

interface DataFile {
  path: string;
  config: string;
  split: string;
  format: Format;
}

/** Format by a path's ending, `.gz` aside. */
export function formatOf(path: string): Format | undefined {
  const ending = /\.([a-z]+)(?:\.gz)?$/i.exec(path)?.[1]?.toLowerCase();
  return FORMATS.find((format) => format === ending);
}

/** The name that conventions give a split: `dev` and `valid` are `validation`. */
export function conventionalSplit(name: string): string {
  return SPLITS.get(name.toLowerCase()) ?? name;
}

/** Whether a folder of this name is a split by convention. */
export const isSplitName = (name: string): boolean => SPLITS.has(name.toLowerCase());

/**
 * The data files among the paths of a repository, in reading order.
 * @param folder only what is below it, as if it were the whole; empty or ending in `/`
 */
export function conventionalFiles(paths: readonly string[], folder = ""): DataFile[] {
  const files = paths
    .filter((path) => path.startsWith(folder) && !NOT_DATA.test(path) && !/(^|\/)\./.test(path))
    .flatMap((path): DataFile[] => {
      const format = formatOf(path);
      return format ? [{ path, format, ...placeOf(path.slice(folder.length)) }] : [];
    });
  const best = new Map<string, number>();
  for (const file of files)
    best.set(keyOf(file), Math.min(best.get(keyOf(file)) ?? Infinity, FORMATS.indexOf(file.format)));
  return files.filter((file) => FORMATS.indexOf(file.format) === best.get(keyOf(file))).sort(byPath);
}

function keyOf({ config, split }: DataFile): string {
  return JSON.stringify([config, split]);
}

function byPath(a: DataFile, b: DataFile): number {
  return a.path < b.path ? -1 : Number(a.path > b.path);
}

function placeOf(path: string): { config: string; split: string } {
  const folders = path.split("/");
  const name = (folders.pop() as string).replace(/\.[a-z]+(\.gz)?$/i, "");
  const inFolder = folders.findLastIndex(isSplitName);
  const config = folders.filter((folder, i) => i !== inFolder && folder !== "data").join("/") || "default";
  const sharded = /^(.+?)-\d{5}-of-\d{5}/.exec(name)?.[1];
  // A word of its own, the last one first: `my_train_data-test` is a test split.
  const word = name.split(/[-._ 0-9]+/).findLast(isSplitName);
  const split = word ?? (inFolder >= 0 ? folders[inFolder] : undefined) ?? sharded ?? "train";
  return { config, split: conventionalSplit(split) };
}
