// A classifier's head made anew, for classes that its checkpoint was not trained on: config.json says the new ones, and the
// parameters whose shapes depend on their number start as in training from scratch. Everything else is read as it is.

import { ModelError } from "../../../hub/model-folder/index.ts";
import { type Architecture, parametersOf } from "../../architectures/architecture.ts";
import type { ParameterInfo } from "../../architectures/network.ts";
import { isTimm, withTimmFields } from "../../architectures/parts/timm-config.ts";

export interface NewHead {
  /** names in the order of their numbers */
  classes: readonly string[];
  /** of its first values, a whole number; default 0 */
  seed?: number;
}

type Fields = Readonly<Record<string, unknown>>;

/** config.json for other classes, in the manner of whoever wrote it. */
export function configForClasses(json: Fields, classes: readonly string[]): Record<string, unknown> {
  if (isTimm(json)) {
    const { label_descriptions: _, labels: _1, ...others } = json;
    const count = { num_classes: classes.length };
    const cfg = others.pretrained_cfg == null ? {} : { pretrained_cfg: withoutLabels(others.pretrained_cfg) };
    return { ...withTimmFields({ ...others, ...cfg }, count), ...count, label_names: [...classes] };
  }
  const { num_labels: _, architectures, ...others } = json;
  return {
    ...others,
    ...(Array.isArray(architectures) && { architectures: architectures.map(withHead) }),
    id2label: Object.fromEntries(classes.map((name, i) => [i, name])),
    label2id: Object.fromEntries(classes.map((name, i) => [name, i])),
  };
}

function withoutLabels(cfg: object): object {
  const { label_names: _, label_descriptions: _1, labels: _2, ...others } = cfg as Fields;
  return others;
}

/** transformers' class of such a model that classifies. */
const withHead = (name: unknown): unknown =>
  typeof name === "string" ? name.replace(/Model$/, "ForImageClassification") : name;

/**
 * The parameters whose shapes depend on the number of classes.
 * @param json a config.json @param file what errors call it @throws ModelError when there are none
 */
export function headParameters(architecture: Architecture, json: Fields, file: string): Map<string, ParameterInfo> {
  const [own, other] = [3, 4].map((count) => {
    const classes = Array.from({ length: count }, (_, i) => String(i));
    return parametersOf(architecture, architecture.readConfig(configForClasses(json, classes), file));
  }) as [Map<string, ParameterInfo>, Map<string, ParameterInfo>];
  const names = [...own.keys()].filter((name) => String(own.get(name)?.shape) !== String(other.get(name)?.shape));
  if (names.length === 0) throw new ModelError(`is a ${architecture.type}, which has no head for classes`, { file });
  const now = parametersOf(architecture, architecture.readConfig({ ...json }, file));
  return new Map(names.map((name) => [name, now.get(name) as ParameterInfo]));
}
