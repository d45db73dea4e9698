// Sums gradients over the ranks of a run while earlier layers are still being computed. Gradients are put into buckets,
// as by PyTorch's DistributedDataParallel (Li et al. 2020, arXiv 2006.15704), so that few large messages are sent.

import { keep, type Tensor, tensor1d, tidy, type Variable, zeros } from "@tensorflow/tfjs-core";
import { BUCKET_BYTES, bucketsOf, packed, unpacked } from "./flat.ts";
import type { ProcessGroup } from "./process-group.ts";

/** Bytes of the first bucket, whose gradients are complete first. PyTorch's default. */
const FIRST_BYTES = 2 ** 20;

interface Bucket {
  variables: Variable[];
  /** the sums, flat; undefined as long as they have not been started */
  flat?: Tensor;
  done?: Promise<void>;
}

/** The gradients of one step. */
export class GradientBuckets {
  private readonly group: ProcessGroup;
  private readonly variables: readonly Variable[];
  private readonly buckets: readonly Bucket[];
  private readonly gradients = new Map<Variable, Tensor>();
  private readonly reached = new Set<Variable>();
  private started = 0;

  /** @param variables the same on all ranks, in the order of the forward pass */
  constructor(group: ProcessGroup, variables: readonly Variable[]) {
    this.group = group;
    this.variables = variables;
    // Buckets are sent in one order, as all ranks must start the same collectives. That of the backward pass is best.
    const reversed = [...variables].reverse();
    this.buckets = bucketsOf(reversed, { bytes: BUCKET_BYTES, first: FIRST_BYTES }).map((own) => ({ variables: own }));
  }

  /** Takes over the gradient of a variable, and starts the buckets that are complete. */
  take(variable: Variable, gradient: Tensor): void {
    this.gradients.set(variable, gradient);
    this.reached.add(variable);
    for (let next = this.buckets[this.started]; next && this.isFull(next); next = this.buckets[this.started]) {
      this.start(next);
    }
  }

  /**
   * The sums over all ranks, which the caller disposes of, for the variables that have a gradient on any of them, in their
   * order. On a rank where it has none, it counts as zero.
   */
  async sums(): Promise<Map<Variable, Tensor>> {
    const flags = tensor1d(this.variables.map((variable) => (this.reached.has(variable) ? 1 : 0)));
    try {
      while (this.started < this.buckets.length) this.start(this.buckets[this.started] as Bucket);
      await this.group.allReduce([flags], "max");
      await Promise.all(this.buckets.map(({ done }) => done));
      const isReached = await flags.data();
      const sums = new Map(this.buckets.flatMap(sumsOf));
      return new Map(
        this.variables.flatMap((variable, i): [Variable, Tensor][] => {
          const sum = sums.get(variable) as Tensor;
          if (isReached[i] === 1) return [[variable, sum]];
          sum.dispose();
          return [];
        }),
      );
    } finally {
      flags.dispose();
      this.dispose();
    }
  }

  /** Frees what has been taken and not returned. */
  dispose(): void {
    for (const gradient of this.gradients.values()) gradient.dispose();
    for (const { flat } of this.buckets) flat?.dispose();
    this.gradients.clear();
  }

  private isFull({ variables }: Bucket): boolean {
    return variables.every((variable) => this.gradients.has(variable));
  }

  private start(bucket: Bucket): void {
    const { variables } = bucket;
    bucket.flat = tidy(() =>
      packed(variables.map((variable) => this.gradients.get(variable) ?? zeros(variable.shape))),
    );
    for (const variable of variables) {
      this.gradients.get(variable)?.dispose();
      this.gradients.delete(variable);
    }
    bucket.done = this.group.allReduce([bucket.flat]);
    // It is awaited in `sums`. Without this handler, a failure in the meantime would end the process.
    bucket.done.catch(() => {});
    this.started++;
  }
}

function sumsOf({ variables, flat }: Bucket): [Variable, Tensor][] {
  return tidy(() => unpacked(flat as Tensor, variables).map(keep)).map((sum, i) => [variables[i] as Variable, sum]);
}
