// Reads micro-batches one ahead of their use, so that the device does not wait for the disk, and accumulates the loss
// and gradients of a step over its micro-batches and over the processes of a run. The result equals that of one large batch
// up to rounding. Values are read from the device only after the last micro-batch. Parameters are not changed.

import {
  concat,
  dispose,
  mul,
  type NamedTensorMap,
  reshape,
  type Scalar,
  scalar,
  stack,
  type Tensor,
  tidy,
  type Variable,
} from "@tensorflow/tfjs-core";
import { GradientBuckets } from "../distributed/buckets.ts";
import type { ProcessGroup } from "../distributed/process-group.ts";
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
  const { items, readSeed: seed, step, index } = batch;
  return { batch, tensors: items.length === 0 ? {} : await task.read(items, { seed, step, index }) };
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

/** What `batchGradients` computes gradients of. */
interface Learning {
  variables: readonly Variable[];
  /** variables through which gradients are passed on to these */
  through?: ReadonlyMap<Variable, PassOn> | undefined;
  /** the processes over which the step is divided */
  ranks?: ProcessGroup | undefined;
}

/** The loss of a micro-batch, times its share of the step. */
interface Share {
  batch: MicroBatch;
  loss: Scalar;
}

/**
 * The mean loss of one step and its gradients. With several processes all of them get the same.
 * @param loaded yields at least this process's micro-batches of the step; exactly those are taken
 * @throws NonFiniteError when a loss or the gradient's norm is not finite
 */
export async function batchGradients(
  task: Task,
  loaded: AsyncGenerator<LoadedBatch>,
  { variables, through = new Map(), ranks }: Learning,
): Promise<BatchGradients> {
  const shares: Share[] = [];
  const buckets = ranks && new GradientBuckets(ranks, variables);
  let gradients = new Map<Variable, Tensor>();
  try {
    let step: MicroBatch;
    for (;;) {
      const { batch, tensors } = await taken(loaded);
      step = batch;
      try {
        if (batch.items.length > 0) {
          const onto = gradients;
          gradients = new Map();
          const take = batch.isLast ? buckets?.take.bind(buckets) : undefined;
          const share = () => shareOf(task, { batch, tensors });
          const found = valueAndGradients(share, variables, { onto, through, take });
          gradients = found.gradients;
          shares.push({ batch, loss: found.value });
        }
      } finally {
        dispose(tensors);
      }
      if (batch.isLast) break;
    }
    if (buckets) gradients = await buckets.sums();
    const norm = await finite(step, { shares, gradients, ranks });
    return { ...norm, items: step.total, gradients };
  } catch (error) {
    dispose([...gradients.values()]);
    buckets?.dispose();
    throw error;
  } finally {
    dispose(shares.map(({ loss }) => loss));
  }
}

function shareOf(task: Task, { batch, tensors }: LoadedBatch): Scalar {
  const loss = task.loss(tensors, { seed: batch.lossSeed });
  const share = batch.items.length / batch.total;
  return share === 1 ? loss : mul(loss, share);
}

async function taken(loaded: AsyncGenerator<LoadedBatch>): Promise<LoadedBatch> {
  const { value, done } = await loaded.next();
  if (done) throw new RangeError("the data ended before the step did");
  return value;
}

interface Found {
  shares: readonly Share[];
  gradients: ReadonlyMap<Variable, Tensor>;
  ranks: ProcessGroup | undefined;
}

/** Reads all losses and the norm at once, and checks that they are finite. */
async function finite(
  { step, count }: MicroBatch,
  { shares, gradients, ranks }: Found,
): Promise<{ loss: number; gradientNorm: number }> {
  const own = new Map(shares.map((share) => [share.batch.index, share]));
  const losses = tidy(() => stack(Array.from({ length: count }, (_, index) => own.get(index)?.loss ?? scalar(0))));
  let values: number[];
  try {
    await ranks?.allReduce([losses]);
    const all = tidy(() => concat([losses, reshape(gradientNorm([...gradients.values()]), [1])]));
    values = [...(await all.data())];
    all.dispose();
  } finally {
    losses.dispose();
  }
  const norm = values.pop() as number;
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw notFinite(`the loss of ${nameOf(bad, count, own.get(bad))} is ${values[bad]}`, step);
  if (!Number.isFinite(norm))
    throw notFinite(`the norm of the gradient is ${norm}, although every loss is finite`, step);
  return { loss: values.reduce((sum, value) => sum + value, 0), gradientNorm: norm };
}

const LONGEST_LIST = 8;

/** @param share undefined if another process has computed it */
function nameOf(index: number, count: number, share: Share | undefined): string {
  const name = `micro-batch ${index + 1} of ${count}`;
  if (!share) return `${name} (of another rank)`;
  const { items } = share.batch;
  const some = items.slice(0, LONGEST_LIST).join(", ") + (items.length > LONGEST_LIST ? ", …" : "");
  return `${name} (items ${some})`;
}

function notFinite(what: string, step: number): NonFiniteError {
  const remedy = "check these items, or lower the learning rate and resume from the last checkpoint";
  return new NonFiniteError(`step ${step + 1}: ${what}; the parameters are those of step ${step}; ${remedy}`, step + 1);
}
