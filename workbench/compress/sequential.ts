// Sequential calibration: layers are converted in the order in which they run, and each is fitted to what it will see. For
// a layer with matrix W, let x be its input in the dense model, and x' its input in the model whose earlier layers have
// their new matrices. Least squares E ‖W x - T x'‖² + damping ‖W - T‖² gives the target
//
//   T = W (C + damping) (Σ' + damping)⁻¹ = W + W E[(x - x') x'ᵀ] (Σ' + damping)⁻¹,  Σ' = E[x' x'ᵀ],  C = E[x x'ᵀ].
//
// For any W' the objective is that of T plus tr((T - W') (Σ' + damping) (T - W')ᵀ). So a structure that is fitted to T
// with the covariance Σ' + damping minimizes the difference to the output of the dense model; it need not know that the
// calibration was sequential. The damping keeps T near W in directions in which x' hardly varies.

import {
  add,
  clone,
  eye,
  keep,
  matMul,
  mul,
  sub,
  sum,
  type Tensor,
  type Tensor2D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import type { Stepwise } from "../architectures/task.ts";
import type { ProcessGroup } from "../distributed/process-group.ts";
import { isOwn, type Sharing, shared } from "../distributed/shares.ts";
import { EngineError } from "../engine/core/errors.ts";
import { solvePositive } from "../engine/linalg/index.ts";
import { copyModel } from "../models/create.ts";
import type { Model } from "../models/model.ts";
import { eventLoopTurn } from "../structures/structure.ts";
import type { Covariances } from "./calibrate.ts";
import { RunningMean } from "./running-mean.ts";
import { groupsOf, type InputGroup, Stream, stepsOf } from "./streams.ts";

/** Default of `damping`. */
const DAMPING = 1e-4;

/** Options of `SequentialCalibration`. Several processes have the same inputs, which are dealt to them in turn. */
export interface SequentialOptions extends Sharing {
  /** names of the layers to convert */
  layers: readonly string[];
  /** the whole forward pass, for architectures without steps; its result is disposed of */
  forward: (model: Model, input: Tensor) => Tensor;
  /** share of the mean diagonal entry of Σ' that is added to all of them. Default 1e-4 */
  damping?: number | undefined;
}

/** Progress within the calibration of the group of layers that starts with `name`. */
export interface SequentialProgress {
  kind: "calibrating";
  name: string;
  inputs: number;
  of: number;
}

/** Calibrates one group of layers after the other, between conversions. Must be disposed of. */
export class SequentialCalibration {
  /** Σ' + damping of the current group by layer name, float32 (n_in, n_in) */
  readonly covariances: Covariances = new Map();
  /** K of the current group by layer name, float32 (n_in, n_in): T = W + W K. Empty before any layer is converted */
  readonly corrections: Covariances = new Map();
  /** the largest damping used so far, as a share of the mean diagonal entry of Σ' */
  damping: number;
  /** number of input rows of a layer */
  rows = 0;
  private readonly options: SequentialOptions;
  private readonly streams: Streams;
  private hasDiverged = false;

  private constructor(streams: Streams, options: SequentialOptions) {
    [this.streams, this.options] = [streams, options];
    this.damping = options.damping ?? DAMPING;
  }

  /**
   * Reads the inputs and finds the order of the layers.
   * @param model the dense model, which may be converted afterwards
   * @param inputs inputs of the model, which are used and disposed of
   * @throws EngineError when there is no input, or a layer does not run
   */
  static async open(
    model: Model,
    inputs: AsyncIterable<Tensor>,
    options: SequentialOptions,
  ): Promise<SequentialCalibration> {
    const stepwise = stepsOf(model, options.forward);
    const states: Tensor[] = [];
    let groups: InputGroup[] | undefined;
    let index = 0;
    try {
      for await (const input of inputs) {
        options.signal?.throwIfAborted();
        try {
          const isShare = isOwn(options.ranks, index++);
          if (groups && !isShare) continue;
          const start = tidy(() => keep(clone(stepwise.start(model, input))));
          states.push(start);
          // All processes find the groups, with the first input.
          groups ??= groupsOf(model, { names: options.layers, stepwise, start });
          if (!isShare) states.pop()?.dispose();
        } finally {
          input.dispose();
        }
      }
      if (!groups) throw new EngineError("calibration: there is no input", "use more data");
      return new SequentialCalibration(streamsOf(model, { stepwise, groups, states }), options);
    } catch (error) {
      for (const state of states) state.dispose();
      throw error;
    }
  }

  /** Names of the layers in the order in which they must be converted; those of a group see the same earlier layers. */
  get groups(): string[][] {
    return this.streams.groups.map(({ inputs }) => inputs.flatMap(({ layers }) => layers));
  }

  /**
   * Makes covariance and correction of a layer available: calibrates its group, unless it is the current one. Several
   * processes ask for the same layers in the same order.
   */
  async *provide(name: string): AsyncGenerator<SequentialProgress, void> {
    if (this.covariances.has(name)) return;
    const group = this.streams.groups.find(({ inputs }) => inputs.some(({ layers }) => layers.includes(name)));
    if (!group) throw new EngineError(`calibration: ${name} is not among its layers`, "report this");
    this.clear();
    const { ranks } = this.options;
    const means = group.inputs.map(({ nIn }) => ({ covariance: new RunningMean(nIn), drift: new RunningMean(nIn) }));
    try {
      const shares = yield* shared("a calibration", this.pass(group, means), this.options);
      if (ranks) await this.combine(means, { ranks, counts: shares });
      this.rows = means[0]?.covariance.rows ?? 0;
      for (const [i, { layers }] of group.inputs.entries()) {
        const { covariance, drift } = means[i] as Means;
        await this.solve(layers, covariance, drift);
      }
    } finally {
      for (const { covariance, drift } of means) {
        covariance.dispose();
        drift.dispose();
      }
    }
  }

  /**
   * Must be called for each layer whose matrix changes, in the order of conversion.
   * @param matrix the new matrix, float32 (n_out, n_in), which still belongs to the caller
   */
  replaced(name: string, matrix: Tensor2D): void {
    this.hasDiverged = true;
    this.streams.converted.replace(name, matrix);
  }

  dispose(): void {
    this.clear();
    this.streams.original.dispose();
    this.streams.converted.dispose();
  }

  private clear(): void {
    for (const tensors of [this.covariances, this.corrections]) {
      for (const tensor of new Set(tensors.values())) tensor.dispose();
      tensors.clear();
    }
  }

  /** Takes the inputs of this process through both streams to a group. @returns the rows of each input of the group */
  private async *pass(group: InputGroup, means: readonly Means[]): AsyncGenerator<SequentialProgress, number[]> {
    const [name = ""] = group.inputs[0]?.layers ?? [];
    yield* this.reach(group.step, name);
    yield* this.collect(group, means);
    return means.map(({ covariance }) => covariance.rows);
  }

  /** Makes the means those of the inputs of all processes. @param counts the rows of each process */
  private async combine(
    means: readonly Means[],
    { ranks, counts }: { ranks: ProcessGroup; counts: readonly (readonly number[])[] },
  ): Promise<void> {
    for (const [i, { covariance, drift }] of means.entries()) {
      const rows = counts.map((share) => share[i] as number);
      await covariance.combine(ranks, rows);
      if (this.hasDiverged) await drift.combine(ranks, rows);
    }
  }

  /** Runs both streams up to a step. */
  private async *reach(step: number, name: string): AsyncGenerator<SequentialProgress, void> {
    const { original, converted } = this.streams;
    while (original.at < step) yield* this.move(original, name);
    if (!this.hasDiverged) converted.follow(original);
    while (converted.at < step) yield* this.move(converted, name);
  }

  private async *move(stream: Stream, name: string): AsyncGenerator<SequentialProgress, void> {
    let states: Tensor[] = [];
    const of = stream.states.length;
    try {
      for (let i = 0; i < of; i++) {
        this.options.signal?.throwIfAborted();
        states.push(stream.next(i));
        yield { kind: "calibrating", name, inputs: 0, of };
        await eventLoopTurn();
      }
      stream.advance(states);
      states = [];
    } finally {
      for (const state of states) state.dispose();
    }
  }

  /** Runs the inputs of a group through both streams and adds them to the means. */
  private async *collect(group: InputGroup, means: readonly Means[]): AsyncGenerator<SequentialProgress, void> {
    const { original, converted } = this.streams;
    const [name = ""] = group.inputs[0]?.layers ?? [];
    const of = original.states.length;
    let next: Tensor[] = [];
    try {
      for (let i = 0; i < of; i++) {
        this.options.signal?.throwIfAborted();
        const whole = original.observe(i, group, group.isLast);
        if (whole.next) next.push(whole.next);
        const own = this.hasDiverged ? converted.observe(i, group, false).seen : [];
        for (const [j, { covariance, drift }] of means.entries()) {
          const [x, seen] = [whole.seen[j] as Tensor, own[j]];
          covariance.take(seen ?? x);
          if (seen) tidy(() => drift.take(sub(x, seen), seen));
        }
        for (const tensor of [...whole.seen, ...own]) tensor.dispose();
        yield { kind: "calibrating", name, inputs: i + 1, of };
        await eventLoopTurn();
      }
      // The pass of the dense model does not depend on the new matrices of the group, so it has gone through the step.
      if (group.isLast) {
        original.advance(next);
        next = [];
      }
    } finally {
      for (const state of next) state.dispose();
    }
  }

  /** Computes Σ' + damping and K of layers with the same input, from the means. */
  private async solve(layers: readonly string[], covariance: RunningMean, drift: RunningMean): Promise<void> {
    const mean = covariance.mean as unknown as Tensor2D;
    const n = mean.shape[0];
    const trace = tidy(() => sum(mul(mean, eye(n))));
    const [total = 0] = await trace.data();
    trace.dispose();
    let damping = this.options.damping ?? DAMPING;
    if (drift.mean && total > 0) {
      const right = transpose(drift.mean as unknown as Tensor2D);
      const solved = () => solvePositive(mean, right, { damping: (damping * total) / n });
      let found: Tensor2D | undefined;
      try {
        found = await solved();
        // With fewer rows than entries in a row, Σ' is singular, and needs enough damping.
        while (!found) {
          damping = Math.max(10 * damping, LEAST_DAMPING);
          if (!(damping < MOST_DAMPING)) {
            throw new EngineError(`calibration: inputs of ${layers[0]} have no finite covariance`, "exclude the layer");
          }
          found = await solved();
        }
      } finally {
        right.dispose();
      }
      const correction = transpose(found);
      found.dispose();
      for (const name of layers) this.corrections.set(name, correction);
    }
    this.damping = Math.max(this.damping, damping);
    const damped = tidy(() => add<Tensor2D>(mean, mul(eye(n), (damping * total) / n)));
    for (const name of layers) this.covariances.set(name, damped);
  }
}

/** First damping that is tried if the requested one is too small for a decomposition. */
const LEAST_DAMPING = 1e-8;
/** With so much damping, every finite covariance has a decomposition. */
const MOST_DAMPING = 1e6;

interface Means {
  covariance: RunningMean;
  drift: RunningMean;
}

interface Streams {
  original: Stream;
  converted: Stream;
  groups: readonly InputGroup[];
}

function streamsOf(
  model: Model,
  { stepwise, groups, states }: { stepwise: Stepwise; groups: readonly InputGroup[]; states: Tensor[] },
): Streams {
  const [original, converted] = [copyModel(model), copyModel(model)].map(
    (copy) => new Stream(copy, { stepwise, groups }),
  ) as [Stream, Stream];
  original.states = states;
  converted.follow(original);
  return { original, converted, groups };
}

/**
 * The target of a layer's fit, T = W + W K.
 * @param weight W, float32 (n_out, n_in)
 * @param correction K, (n_in, n_in). Default: none, the target is W
 * @returns float32 (n_out, n_in), a new tensor
 */
export function targetOf(weight: Tensor2D, correction: Tensor2D | undefined): Tensor2D {
  return tidy(() => (correction ? add<Tensor2D>(weight, matMul(weight, correction)) : clone(weight)));
}
