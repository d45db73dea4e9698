// Finds the head among the tensors of a file of weights, and gives it the architecture's name. Scripts put other heads
// on a network: in a torch.nn.Sequential after dropout, beside the network, of several layers, or none. A head that the
// architecture does not have is refused with the flag that leaves it out; a missing one is reported.

import { ModelError } from "../../../hub/model-folder/index.ts";
import { renameTensors, type TensorFile, type TensorInfo } from "../../../hub/safetensors/index.ts";
import { namesOf, parametersOf } from "../../architectures/architecture.ts";
import { isClassifier } from "../../architectures/task.ts";
import type { FoundKind, ModelTensors } from "./model-tensors.ts";

/** The error that a file has a head which its architecture does not have. A flag leaves the head out. */
export class HeadProblem extends ModelError {}

/** What users can do about such a head. */
const ADVICE = "leave the head out with --drop-head";

export interface HeadOptions {
  /** name of the file in errors */
  file: string;
  /** all tensors of the file */
  all: TensorFile;
  /** whether the head is left out. Default false */
  dropHead?: boolean | undefined;
}

/** A model's tensors whose head is settled. */
export interface Headed {
  found: ModelTensors;
  /** whether the architecture has a head that the file does not have, or that was left out */
  isHeadless: boolean;
  /** tensors of the file behind other prefixes that are the head */
  beside: readonly string[];
  /** tensors of the head that were left out */
  leftOut: readonly string[];
}

const NONE = { isHeadless: false, beside: [], leftOut: [] } as const;

/**
 * Settles which tensors are the head, and renames them.
 * @throws HeadProblem for a head that the architecture does not have
 */
export function settleHead(found: ModelTensors, options: HeadOptions): Headed {
  const head = found.kind.reader.head;
  if (head === undefined) return { ...NONE, found };
  return isClassifier(found.kind) ? classifierHead(found, head, options) : languageHead(found, head, options);
}

/** Names under which networks for images keep their head, timm's and torchvision's among them. */
const CLASSIFIERS = /^(fc|head|heads|classifier)\./;
/** Most layers of a head that an error names. */
const MOST_NAMED = 4;
/** Names of a layer beside the network that is taken for its head. */
const BESIDE = /^(fc|head|heads|classifier|linear|out|output|logits)\./;

function classifierHead(found: ModelTensors, head: string, options: HeadOptions): Headed {
  const { file, dropHead = false } = options;
  const inside = headNames(found, CLASSIFIERS);
  const beside = inside.size === 0 ? namesBeside(found, options) : [];
  if (dropHead) {
    return {
      ...NONE,
      found: withTensors(found, without(found.tensors, inside)),
      isHeadless: true,
      leftOut: [...inside],
    };
  }
  const names = inside.size === 0 ? beside : [...inside];
  const [layer, ...others] = new Set(names.map((name) => name.replace(/\.[^.]*$/, "")));
  if (layer === undefined) return { ...NONE, found, isHeadless: true };
  if (others.length > 0) {
    const some = [layer, ...others].slice(0, MOST_NAMED).join(", ") + (others.length < MOST_NAMED ? "" : ", …");
    throw new HeadProblem(`has a head of ${others.length + 1} layers, ${some}, instead of one; ${ADVICE}`, { file });
  }
  if (names.length === 1 && names[0] === `${layer}.weight`) {
    const tensor = `${layer}.bias`;
    throw new HeadProblem(`is missing, so the head is no linear layer with a bias; ${ADVICE}`, { file, tensor });
  }
  const { storedName } = namesOf(found.kind.architecture);
  const renamed = new Map(
    names.map((name) => [name, storedName(head + name.slice(layer.length), found.kind.prefix)] as const),
  );
  const whole = beside.length > 0 ? withBeside(found.tensors, options.all, beside) : found.tensors;
  const tensors = renameTensors(whole, (name) => renamed.get(name) ?? name);
  return { ...NONE, found: withTensors(found, tensors), beside };
}

/** Heads for other tasks that transformers puts on language models. */
const OTHER_TASKS = /^(score|classifier|qa_outputs|multiple_choice_head)\./;

/** A language model without a head uses its embeddings as one, so that none is missing. */
function languageHead(found: ModelTensors, head: string, { file, dropHead = false }: HeadOptions): Headed {
  const others = headNames(found, OTHER_TASKS);
  const [other] = others;
  if (other !== undefined && !dropHead) {
    throw new HeadProblem(`is a head for another task than text generation; ${ADVICE}`, { file, tensor: other });
  }
  const own = headNames(found, new RegExp(`^${head}\\.`));
  const leftOut = dropHead ? [...others, ...own] : [];
  return { ...NONE, found: withTensors(found, without(found.tensors, new Set(leftOut))), leftOut };
}

/** The tensors whose names in the network match. */
function headNames({ kind: { architecture, prefix }, tensors }: ModelTensors, pattern: RegExp): Set<string> {
  const { parameterName } = namesOf(architecture);
  return new Set([...tensors.tensors.keys()].filter((name) => pattern.test(parameterName(name, prefix))));
}

/** The tensors of a head beside the network, such as `classifier.weight` beside `backbone.conv1.weight`. */
function namesBeside({ prefix }: ModelTensors, { all }: HeadOptions): string[] {
  if (prefix === "") return [];
  const outer = prefix.replace(/[^.]*\.$/, "");
  const names = [...all.tensors.keys()].filter((name) => name.startsWith(outer) && !name.startsWith(prefix));
  return names.filter((name) => BESIDE.test(name.slice(outer.length)));
}

/** The tensors of the network and some others of the file, under their names in the file. */
function withBeside(own: TensorFile, all: TensorFile, beside: readonly string[]): TensorFile {
  const added = beside.map((name) => [name, all.tensors.get(name) as TensorInfo] as const);
  const isAdded = new Set(beside);
  return {
    ...own,
    tensors: new Map([...own.tensors, ...added]),
    read: (name) => (isAdded.has(name) ? all : own).read(name),
    chunks: (name, options) => (isAdded.has(name) ? all : own).chunks(name, options),
  };
}

const without = (file: TensorFile, names: ReadonlySet<string>): TensorFile => ({
  ...file,
  tensors: new Map([...file.tensors].filter(([name]) => !names.has(name))),
});

function withTensors(found: ModelTensors, tensors: TensorFile): ModelTensors {
  const { readerName } = found.kind;
  const seen = new Map(Array.from(tensors.tensors, ([name, info]) => [readerName(name), info]));
  return { ...found, tensors, kind: { ...found.kind, seen } };
}

/**
 * Checks that the head has the shapes that follow from the body.
 * @param config of the whole model
 * @throws HeadProblem that names the tensor
 */
export function expectHead(
  { kind, tensors }: { kind: FoundKind; tensors: TensorFile },
  config: unknown,
  file: string,
): void {
  const { architecture, reader, prefix } = kind;
  const { storedName, mayHaveMoreRows } = namesOf(architecture);
  for (const [name, { shape }] of parametersOf(architecture, config)) {
    if (reader.head === undefined || !name.startsWith(`${reader.head}.`)) continue;
    const tensor = storedName(name, prefix);
    const own = tensors.tensors.get(tensor)?.shape;
    const compared = mayHaveMoreRows?.(name) ? 1 : 0;
    const [must, is] = [shape, own].map((sides) => `(${sides?.join(", ")})`);
    if (own && String(own.slice(compared)) !== String(shape.slice(compared))) {
      throw new HeadProblem(`is a head of shape ${is}, but the network before it needs ${must}; ${ADVICE}`, {
        file,
        tensor,
      });
    }
  }
}
