// The Hub's naming conventions for files of data sets without configurations in their README. The split is part of the
// name of a file or folder (`data/train-00000-of-00002.parquet`, `en/test/0.parquet`, `valid.txt`). The names of the
// other folders are the configuration. Works on paths alone.

/** Supported formats in order of preference, for splits that exist in several formats. */
const FORMATS = ["parquet", "jsonl", "ndjson", "json", "txt"] as const;
type Format = (typeof FORMATS)[number];

/** Canonical names of splits, by the names that occur. */
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

/** Files that are not data although their extension is that of a data file. */
const NOT_DATA =
  /(^|\/)(\.[^/]*|(dataset_infos?|state|dataset_dict|config|package|tokenizer.*)\.json|(readme|license|requirements|citation|notice)[^/]*\.txt)$/i;

interface DataFile {
  path: string;
  config: string;
  split: string;
  format: Format;
}

/** Format by the extension of a path; a final `.gz` is ignored. */
export function formatOf(path: string): Format | undefined {
  const ending = /\.([a-z]+)(?:\.gz)?$/i.exec(path)?.[1]?.toLowerCase();
  return FORMATS.find((format) => format === ending);
}

/** Canonical name of a split: `dev` and `valid` become `validation`. */
export function conventionalSplit(name: string): string {
  return SPLITS.get(name.toLowerCase()) ?? name;
}

/** Whether a name is that of a split by convention. */
export const isSplitName = (name: string): boolean => SPLITS.has(name.toLowerCase());

/**
 * The data files among the paths of a repository, in reading order.
 * @param folder considers only files below it; empty or ending in `/`
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

/** Configuration and split of a file, by its path below the data set's folder. */
function placeOf(path: string): { config: string; split: string } {
  const folders = path.split("/");
  const name = (folders.pop() as string).replace(/\.[a-z]+(\.gz)?$/i, "");
  const inFolder = folders.findLastIndex(isSplitName);
  const config = folders.filter((folder, i) => i !== inFolder && folder !== "data").join("/") || "default";
  const sharded = /^(.+?)-\d{5}-of-\d{5}/.exec(name)?.[1];
  // The last word that names a split decides: `my_train_data-test` is a test split.
  const word = name.split(/[-._ 0-9]+/).findLast(isSplitName);
  const split = word ?? (inFolder >= 0 ? folders[inFolder] : undefined) ?? sharded ?? "train";
  return { config, split: conventionalSplit(split) };
}
