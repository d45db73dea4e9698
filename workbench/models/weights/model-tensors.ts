// Finds the model's tensors in a file, and their architecture. They are all tensors of the file, or those behind a
// prefix, such as the dictionary in which training scripts save the model beside the optimizer. The result has the names
// of published checkpoints. heads.ts settles which of the tensors are the head.

import { renameTensors, type TensorFile, type TensorInfo } from "../../../hub/safetensors/index.ts";
import { type Architecture, namesOf, type OtherNames, type WeightsReader } from "../../architectures/architecture.ts";
import { ARCHITECTURES } from "../../architectures/registry.ts";

/**
 * Prefixes that come off: dictionaries of training scripts and the attributes in which modules store a network, the most
 * frequent first. `module` is DataParallel's, `_orig_mod` is that of torch.compile.
 */
const PREFIXES = [
  ...["module", "_orig_mod", "model", "model_state_dict", "model_state", "state_dict", "backbone", "net", "network"],
  ...["weights", "encoder", "base_model", "model_ema"],
].map((name) => `${name}.`);

/** Most prefixes that are nested in each other. */
const MOST_NESTED = 5;

/** The model's tensors in a file. */
export interface ModelTensors {
  kind: FoundKind;
  /** the tensors under the names of published checkpoints */
  tensors: TensorFile;
  /** prefix that was removed from their names in the file */
  prefix: string;
  /** the naming of the file, if it is not that of published checkpoints */
  naming: OtherNames | undefined;
}

/** The model's tensors in a file; undefined if the architecture is unknown. */
export function modelTensors(file: TensorFile): ModelTensors | undefined {
  for (const prefix of prefixesIn(file)) {
    const part = partOf(file, prefix);
    const naming = ARCHITECTURES.flatMap((each) => namesOf(each).others ?? []).find((others) =>
      others.isUsedBy(part.tensors),
    );
    const tensors = renameTensors(part, (name) => naming?.toCheckpoint(name) ?? name);
    const kind = findKind(tensors);
    if (kind) return { kind, tensors, prefix, naming };
  }
  return undefined;
}

/** The prefixes behind which the model may be, shorter ones first, so that no prefix of the model itself comes off. */
function prefixesIn({ tensors }: TensorFile): string[] {
  const names = [...tensors.keys()];
  const found = [""];
  let level = [{ prefix: "", inside: names }];
  for (let depth = 0; depth < MOST_NESTED; depth++) {
    level = level.flatMap(({ prefix, inside }) =>
      PREFIXES.map((next) => {
        const longer = prefix + next;
        return { prefix: longer, inside: inside.filter((name) => name.startsWith(longer)) };
      }).filter((next) => next.inside.length > 0),
    );
    found.push(...level.map(({ prefix }) => prefix));
  }
  return found;
}

/** The tensors behind a prefix, without it. */
function partOf(file: TensorFile, prefix: string): TensorFile {
  const inside = [...file.tensors].filter(([name]) => name.startsWith(prefix));
  return {
    ...file,
    tensors: new Map(inside.map(([name, info]) => [name.slice(prefix.length), info])),
    read: (name) => file.read(prefix + name),
    chunks: (name, options) => file.chunks(prefix + name, options),
  };
}

/** The architecture of a file's tensors and their naming. */
export interface FoundKind {
  architecture: Architecture;
  reader: WeightsReader;
  /** prefix of the names, see TensorNames.prefixes */
  prefix: string;
  /** tensors by the names that the reader expects */
  seen: ReadonlyMap<string, TensorInfo>;
  /** translates a name in the file to the name that the reader expects */
  readerName(stored: string): string;
}

/** The architecture of the tensors; undefined if it is unknown. */
function findKind({ tensors }: TensorFile): FoundKind | undefined {
  for (const architecture of ARCHITECTURES) {
    const { weights: reader } = architecture;
    const { prefixes, storedName, parameterName } = namesOf(architecture);
    for (const prefix of reader ? prefixes.filter((each) => !isWrapped(each, prefixes)) : []) {
      const readerName = (stored: string) => storedName(parameterName(stored, prefix), reader?.prefix ?? "");
      const seen = new Map(Array.from(tensors, ([name, info]) => [readerName(name), info]));
      if (reader?.recognizes(seen)) return { architecture, reader, prefix, seen, readerName };
    }
  }
  return undefined;
}

/** Whether a prefix of the architecture is another one of it behind one that comes off, as `model.transformer.` is. */
const isWrapped = (prefix: string, prefixes: readonly string[]): boolean =>
  PREFIXES.some((outer) => prefixes.some((inner) => inner !== "" && prefix === outer + inner));
