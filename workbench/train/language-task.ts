// Language modeling as a training task: windows of tokens and the mean negative log-likelihood of the next token,
// optionally with distillation.

import { type NamedTensorMap, reshape, type Scalar, slice, type Tensor2D, tensor2d, tidy } from "@tensorflow/tfjs-core";
import type { TokenStream } from "../data/index.ts";
import type { TokenWindows } from "../data/types.ts";
import { headOf, isFixed, languageHidden, languageLoss, type Model } from "../models/index.ts";
import { type DistillationOptions, distillationLoss, teachingSettings } from "./distillation.ts";
import type { ReadOptions, Settings, Task } from "./options.ts";

/** Data and losses of training a language model. */
export interface LanguageTaskOptions {
  model: Model;
  /** training windows, or a stream of them with the number of those that the run takes */
  windows: TokenWindows | StreamedWindows;
  /** whether the model's dropout is active. Default true */
  dropout?: boolean;
  /** teacher for distillation; it is not changed */
  teacher?: DistillationOptions & { model: Model };
  /** further settings that identify the data: data set, split, tokenizer, the teacher's name */
  settings?: Settings;
}

/** Windows that are read in order. */
export interface StreamedWindows {
  stream: TokenStream;
  /** windows of the whole run */
  length: number;
}

/** What a task needs to know of its windows. */
interface WindowSource extends Pick<Task, "length" | "position" | "settings"> {
  context: number;
  read(items: readonly number[], place: ReadOptions): Promise<Int32Array[]>;
}

function sourceOf(windows: TokenWindows | StreamedWindows): WindowSource {
  if (!("stream" in windows)) {
    const { length, context } = windows;
    return { length, context, settings: {}, read: (items) => Promise.all(items.map((item) => windows.read(item))) };
  }
  const { stream, length } = windows;
  const position = stream.reader();
  const read = (items: readonly number[], place: ReadOptions) => position.take(items.length, place);
  const { context, contents, shuffled } = stream;
  return { length, context, settings: { stream: contents, shuffled }, read, position };
}

/** Creates the task. An item is a window. A batch has `windows`, int32 (items, context + 1). */
export function languageTask({ model, windows, dropout = true, teacher, settings = {} }: LanguageTaskOptions): Task {
  const { context, length, position, settings: streamed, read } = sourceOf(windows);
  return {
    length,
    ...(position && { position }),
    unit: { name: "tokens", perItem: context },
    settings: { context, dropout, ...streamed, ...(teacher && teachingSettings(teacher)), ...settings },
    async read(items, place) {
      const ids = new Int32Array(items.length * (context + 1));
      const all = await read(items, place);
      all.forEach((window, i) => {
        ids.set(window, i * (context + 1));
      });
      return { windows: tensor2d(ids, [items.length, context + 1], "int32") };
    },
    loss(batch, { seed }) {
      const options = dropout ? { dropoutSeed: seed } : {};
      const ids = idsOf(batch);
      return teacher ? taughtLoss(model, ids, { ...options, teacher }) : languageLoss(model, ids, options);
    },
  };
}

const idsOf = (batch: NamedTensorMap): Tensor2D => batch.windows as Tensor2D;

function taughtLoss(
  model: Model,
  windows: Tensor2D,
  { teacher, ...options }: { teacher: DistillationOptions & { model: Model }; dropoutSeed?: number },
): Scalar {
  return tidy(() => {
    const [batch, length] = windows.shape;
    const [inputs, targets] = [0, 1].map((start) => slice(windows, [0, start], [batch, length - 1])) as [
      Tensor2D,
      Tensor2D,
    ];
    const count = batch * (length - 1);
    const rowsOf = (of: Model, how: { dropoutSeed?: number }) =>
      reshape(languageHidden(of, inputs, how), [count, -1]) as Tensor2D;
    const head = headOf(model);
    return distillationLoss(
      {
        rows: rowsOf(model, options),
        head,
        headIsFixed: isFixed(head),
        targets: reshape(targets, [count]),
        teacher: () => ({ rows: rowsOf(teacher.model, {}), head: headOf(teacher.model) }),
      },
      teacher,
    );
  });
}
