// Reads micro-batches one ahead of their use, so that the device does not wait for the disk, and accumulates the loss
// and gradients of a step over its micro-batches. The result equals that of one large batch up to rounding. Values are
// read from the device only after the last micro-batch. Parameters are not changed.

import {
  concat,
  dispose,
  mul,
  type NamedTensorMap,
  reshape,
  type Scalar,
  stack,
  type Tensor,
  tidy,
  type Variable,
} from "@tensorflow/tfjs-core";
import { gradientNorm } from "../engine/ops/index.ts";
import { type PassOn, valueAndGradients } from "../engine/tfjs/tape.ts";
import { NonFiniteError } from "./events.ts";
import type { Task } from "./options.ts";
import type { MicroBatch } from "./schedule.ts";

/** A micro-batch that has been read. */
export interface LoadedBatch {
  batch: MicroBatch;
  /** tensors of the batch, which the receiver disposes of */
  tensors: NamedTensorMap;
}

/**
 * Reads each micro-batch while the previous one is in use. Batches that were read but not received are disposed of at
 * the end, also when the iteration stops early.
 */
export async function* readAhead(task: Task, batches: Iterable<MicroBatch>): AsyncGenerator<LoadedBatch> {
  let next: Promise<LoadedBatch> | undefined;
  try {
    for (const batch of batches) {
      const present = next;
      next = load(task, batch);
      // The error is reported when this batch is awaited. Without this handler, the rejection would end the process
      // before.
      next.catch(() => {});
      if (present) yield await present;
    }
    const last = next;
    next = undefined;
    if (last) yield await last;
  } finally {
    const unused = await next?.catch(() => undefined);
    if (unused) dispose(unused.tensors);
  }
}

async function load(task: Task, batch: MicroBatch): Promise<LoadedBatch> {
  return { batch, tensors: await task.read(batch.items, { seed: batch.readSeed }) };
}

/** The loss and the gradients of one step. */
export interface BatchGradients {
  /** mean loss over the items of all micro-batches */
  loss: number;
  /** Euclidean norm over all parameters */
  gradientNorm: number;
  items: number;
  /** gradients of the mean loss; the receiver disposes of them */
  gradients: Map<Variable, Tensor>;
}

/**
 * The mean loss of one step and its gradients.
 * @param loaded yields at least the micro-batches of the step; exactly those are taken
 * @param learning the variables to compute gradients for, and those through which gradients are passed on to them
 * @throws NonFiniteError when a loss or the gradient's norm is not finite
 */
export async function batchGradients(
  task: Task,
  loaded: AsyncGenerator<LoadedBatch>,
  {
    variables,
    through = new Map(),
  }: { variables: readonly Variable[]; through?: ReadonlyMap<Variable, PassOn> | undefined },
): Promise<BatchGradients> {
  const shares: { batch: MicroBatch; loss: Scalar }[] = [];
  let gradients = new Map<Variable, Tensor>();
  try {
    for (;;) {
      const { batch, tensors } = await taken(loaded);
      try {
        const share = batch.items.length / batch.total;
        const loss = () => task.loss(tensors, { seed: batch.lossSeed });
        const onto = gradients;
        gradients = new Map();
        const found = valueAndGradients(() => (share === 1 ? loss() : mul(loss(), share)), variables, {
          onto,
          through,
        });
        gradients = found.gradients;
        shares.push({ batch, loss: found.value });
      } finally {
        dispose(tensors);
      }
      if (batch.index === batch.count - 1) break;
    }
    const norm = await finite(shares, gradients);
    return { ...norm, items: (shares[0] as { batch: MicroBatch }).batch.total, gradients };
  } catch (error) {
    dispose([...gradients.values()]);
    throw error;
  } finally {
    dispose(shares.map(({ loss }) => loss));
  }
}

async function taken(loaded: AsyncGenerator<LoadedBatch>): Promise<LoadedBatch> {
  const { value, done } = await loaded.next();
  if (done) throw new RangeError("the data ended before the step did");
  return value;
}

/** Reads all losses and the norm at once, and checks that they are finite. */
async function finite(
  shares: readonly { batch: MicroBatch; loss: Scalar }[],
  gradients: ReadonlyMap<Variable, Tensor>,
): Promise<{ loss: number; gradientNorm: number }> {
  const all = tidy(() => {
    const norm = gradientNorm([...gradients.values()]);
    return concat([stack(shares.map(({ loss }) => loss)), reshape(norm, [1])]);
  });
  const values = [...(await all.data())];
  all.dispose();
  const norm = values.pop() as number;
  const bad = values.findIndex((value) => !Number.isFinite(value));
  const { batch } = shares[Math.max(bad, 0)] as { batch: MicroBatch };
  if (bad >= 0) throw notFinite(`the loss of ${nameOf(batch)} is ${values[bad]}`, batch.step);
  if (!Number.isFinite(norm))
    throw notFinite(`the norm of the gradient is ${norm}, although every loss is finite`, batch.step);
  return { loss: values.reduce((sum, value) => sum + value, 0), gradientNorm: norm };
}

const LONGEST_LIST = 8;

function nameOf({ index, count, items }: MicroBatch): string {
  const some = items.slice(0, LONGEST_LIST).join(", ") + (items.length > LONGEST_LIST ? ", …" : "");
  return `micro-batch ${index + 1} of ${count} (items ${some})`;
}

function notFinite(what: string, step: number): NonFiniteError {
  const remedy = "check these items, or lower the learning rate and resume from the last checkpoint";
  return new NonFiniteError(`step ${step + 1}: ${what}; the parameters are those of step ${step}; ${remedy}`, step + 1);
}
