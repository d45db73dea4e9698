// Divides the state of an optimizer over the ranks of a run, as stage 1 of ZeRO does (Rajbhandari et al. 2020, arXiv
// 1910.02054): each variable has one owner, which alone keeps what the optimizer remembers of it, updates it, and sends its
// new values to the others.

import { mul, type Tensor, tidy, type Variable, zeros } from "@tensorflow/tfjs-core";
import { BUCKET_BYTES, bucketsOf, packed, unpacked } from "./flat.ts";
import type { ProcessGroup } from "./process-group.ts";
import { dealtBySize } from "./shares.ts";

/** Which rank owns which variable. */
export class Owners {
  private readonly group: ProcessGroup;
  private readonly owners: ReadonlyMap<Variable, number>;

  /**
   * Deals whole variables by their sizes, as PyTorch's ZeroRedundancyOptimizer does. The owners depend on names, sizes and
   * the number of ranks alone.
   * @param variables by name, the same on all ranks
   */
  constructor(group: ProcessGroup, variables: ReadonlyMap<string, Variable>) {
    this.group = group;
    const named = [...variables].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const ranks = dealtBySize(
      named.map(([, { size }]) => size),
      group.size,
    );
    this.owners = new Map(named.map(([, variable], i) => [variable, ranks[i] as number]));
  }

  /** Whether this rank owns a variable. */
  isOwn(variable: Variable): boolean {
    return this.owners.get(variable) === this.group.rank;
  }

  /**
   * Replaces each variable by that of its owner, bit by bit. Besides the variables, one bucket is in memory, or the largest
   * variable of each owner.
   * @param changed the same on all ranks, in the same order
   */
  async exchange(changed: readonly Variable[]): Promise<void> {
    const bytes = BUCKET_BYTES / this.group.size;
    const buckets = Array.from({ length: this.group.size }, (_, owner) =>
      bucketsOf(
        changed.filter((variable) => this.owners.get(variable) === owner),
        { bytes },
      ),
    );
    const rounds = Math.max(...buckets.map(({ length }) => length));
    for (let round = 0; round < rounds; round++) {
      // All owners send at once, so that every connection is used in both directions.
      await Promise.all(buckets.map((own, owner) => this.send(own[round] ?? [], owner)));
    }
  }

  /** Sends variables of one owner to all others. */
  private async send(variables: readonly Variable[], owner: number): Promise<void> {
    if (variables.length === 0) return;
    const isOwn = owner === this.group.rank;
    const flat = isOwn ? packed(variables) : zeros([variables.reduce((sum, { size }) => sum + size, 0)]);
    try {
      await this.group.broadcast(flat, owner);
      if (!isOwn) assign(variables, flat);
    } finally {
      flat.dispose();
    }
  }
}

function assign(variables: readonly Variable[], flat: Tensor): void {
  // One of several parts is copied (x · 1 has the bits of x): it would not begin at the boundaries that memory has
  // elsewhere, by which some libraries choose the order of sums.
  const whole = (part: Tensor) => (variables.length === 1 ? part : mul(part, 1));
  tidy(() => {
    for (const [i, part] of unpacked(flat, variables).entries()) variables[i]?.assign(whole(part));
  });
}
