// Finds the model's tensors in a file, and their architecture. They are all tensors of the file, or those in a
// dictionary in which training scripts save the model beside the optimizer. The result has the names of published
// checkpoints.

import { unwrapTensors, wrapperOf } from "../../../hub/model-folder/index.ts";
import { renameTensors, type TensorFile, type TensorInfo } from "../../../hub/safetensors/index.ts";
import { type Architecture, namesOf, type OtherNames, type WeightsReader } from "../../architectures/architecture.ts";
import { ARCHITECTURES } from "../../architectures/registry.ts";

/** Usual names of this dictionary, the most frequent first. */
const DICTIONARIES = [
  "model",
  "model_state_dict",
  "model_state",
  "state_dict",
  "net",
  "network",
  "weights",
  "model_ema",
];

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
  for (const dictionary of ["", ...DICTIONARIES.map((name) => `${name}.`)]) {
    const own = [...file.tensors].filter(([name]) => name.startsWith(dictionary));
    const inside = own.map(([name, info]) => [name.slice(dictionary.length), info] as const);
    const wrapper = wrapperOf(inside.map(([name]) => name));
    const part: TensorFile = {
      ...file,
      tensors: new Map(inside),
      read: (name) => file.read(dictionary + name),
      chunks: (name, options) => file.chunks(dictionary + name, options),
    };
    const unwrapped = unwrapTensors(part);
    const naming = ARCHITECTURES.flatMap((each) => namesOf(each).others ?? []).find((others) =>
      others.isUsedBy(unwrapped.tensors),
    );
    const tensors = loneHead(renameTensors(unwrapped, (name) => naming?.toCheckpoint(name) ?? name));
    const kind = findKind(tensors);
    if (kind) return { kind, tensors, prefix: dictionary + wrapper, naming };
  }
  return undefined;
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
    for (const prefix of reader ? prefixes : []) {
      const readerName = (stored: string) => storedName(parameterName(stored, prefix), reader?.prefix ?? "");
      const seen = new Map(Array.from(tensors, ([name, info]) => [readerName(name), info]));
      if (reader?.recognizes(seen)) return { architecture, reader, prefix, seen, readerName };
    }
  }
  return undefined;
}

const NUMBERED_HEAD = /^(fc|head|classifier)\.\d+(?=\.(weight|bias)$)/;

/**
 * Renames a head in a torch.nn.Sequential after dropout: `fc.1.weight` becomes `fc.weight` if no other layer of the
 * head has parameters. The head of Hugging Face's ResNet is `classifier.1` and keeps its name.
 */
function loneHead(file: TensorFile): TensorFile {
  const names = [...file.tensors.keys()].filter((name) => /^(fc|head|classifier)\./.test(name));
  const layers = new Set(names.map((name) => name.replace(/\.[^.]*$/, "")));
  const [layer = ""] = layers;
  if (layers.size !== 1 || layer === "classifier.1" || !NUMBERED_HEAD.test(`${layer}.weight`)) return file;
  return renameTensors(file, (name) => name.replace(NUMBERED_HEAD, "$1"));
}
