// The state of a block search: factors, widths and locations as variables on the engine, trained with AdamW without
// momentum. After every step the host reads the widths and lowers them to the budget. Widths are (2, K), row 0 the
// input side, as shares of n.

import {
  div,
  matMul,
  mul,
  reshape,
  type Scalar,
  square,
  squaredDifference,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
  tidy,
  type Variable,
  valueAndGrads,
  variable,
  zerosLike,
} from "@tensorflow/tfjs-core";
import { seededUniform } from "../../engine/core/random.ts";
import { type AdamwGroup, adamwStep } from "../../engine/ops/index.ts";
import { gaudiMask } from "../mask.ts";
import { holdCount } from "./block-budget.ts";
import type { Triples } from "./decompositions.ts";
import type { Sides } from "./rules.ts";
import { svdFactors } from "./svd.ts";

/** The root mean square to which the matrix is scaled, for which the learning rate of the factors is chosen. */
const USUAL_SIZE = 0.1;

/** Options of `SearchState.start`. */
export interface StartOptions {
  /** maximum number of parameters */
  allowed: number;
  seed?: number;
  /** all singular triples of the matrix, if they are known, so that it is not decomposed again */
  triples?: Triples | undefined;
}

/** A parameter with AdamW's moments. β1 is 0, so the first moment is the gradient itself. */
type Trained = {
  parameter: Variable;
  first: Variable;
  second: Variable;
};

/** The parameters of a block search and their optimizer. */
export class SearchState {
  /** the matrix was multiplied by this, each factor by its square root */
  readonly scale: number;
  readonly sides: Sides;
  /** (2, K), the same values as on the engine */
  readonly widths: Float64Array;
  /** (2, K), the same values as on the engine */
  readonly locations: Float64Array;
  private readonly target: Tensor2D;
  private readonly power: Scalar;
  private readonly allowed: number;
  /** inputs (K, n_in), outputs (K, n_out) */
  private readonly factors: readonly [Trained, Trained];
  /** widths in, widths out, locations in, locations out, (K) each */
  private readonly structure: readonly Trained[];

  private constructor(target: Tensor2D, power: Scalar, options: StartOptions & { scale: number; factors: Tensor2D[] }) {
    const [nOut, nIn] = target.shape;
    const blocks = Math.min(nOut, nIn);
    const { allowed, seed = 0, scale, factors } = options;
    const uniform = seededUniform(seed);
    this.scale = scale;
    this.sides = { nIn, nOut };
    this.widths = new Float64Array(2 * blocks).fill(1);
    this.locations = Float64Array.from({ length: 2 * blocks }, uniform);
    this.target = target;
    this.power = power;
    this.allowed = allowed;
    // Done before the first step: at full width the gradient is rounding noise, which AdamW would amplify.
    this.project();
    this.factors = factors.map(trained) as [Trained, Trained];
    this.structure = this.halves().map((half) => tidy(() => trained(tensor1d(half))));
  }

  /**
   * Creates the state from the singular value decomposition of a matrix. Undefined if the matrix is zero, because there
   * is nothing to fit.
   */
  static async start(weight: Tensor2D, options: StartOptions): Promise<SearchState | undefined> {
    const [nOut, nIn] = weight.shape;
    const blocks = Math.min(nOut, nIn);
    const size = tidy(() => sum(sum(square(weight), 1)));
    const [squares = 0] = await size.data();
    size.dispose();
    if (squares === 0) {
      return undefined;
    }
    const scale = USUAL_SIZE / Math.sqrt(squares / weight.size);
    const target = mul(weight, scale) as Tensor2D;
    // The factors of the target are those of the matrix, scaled; it is not decomposed again.
    const { lr_weight1, lr_weight2, singularValues } = await svdFactors(weight, { triples: options.triples });
    const factors = [lr_weight1, lr_weight2].map((factor) =>
      tidy(() => mul(reshape(factor, [blocks, factor.size / blocks]), Math.sqrt(scale)) as Tensor2D),
    );
    const power = tidy(() => sum(sum(square(target), 1)));
    const fit = new SearchState(target, power as Scalar, { ...options, scale, factors });
    for (const tensor of [lr_weight1, lr_weight2, singularValues, ...factors]) {
      tensor.dispose();
    }
    return fit;
  }

  /**
   * Makes one optimizer step of all parameters.
   * @param step counted from 1
   * @param wanted whether to return the error, which waits for the engine
   * @returns the error before the step, NaN unless `wanted`
   */
  async step(step: number, rates: { factors: number; structure: number }, wanted: boolean): Promise<number> {
    const all = [...this.factors, ...this.structure];
    const { value, grads } = valueAndGrads((...tensors: Tensor[]) => this.loss(tensors))(
      all.map(({ parameter }) => parameter),
    );
    const groups = [
      group(this.factors, grads.slice(0, 2), rates.factors),
      group(this.structure, grads.slice(2), rates.structure),
    ];
    adamwStep(groups, { step }).dispose();
    const [loss = 0] = wanted ? await value.data() : [Number.NaN];
    for (const tensor of [value, ...grads]) {
      tensor.dispose();
    }
    await this.fetch();
    this.project();
    this.push();
    return Math.sqrt(loss);
  }

  /** The factors, √scale times those of the matrix itself. They still belong to this object. */
  current(): [inputs: Tensor2D, outputs: Tensor2D] {
    return [this.factors[0].parameter as Tensor as Tensor2D, this.factors[1].parameter as Tensor as Tensor2D];
  }

  dispose(): void {
    this.target.dispose();
    this.power.dispose();
    for (const { parameter, first, second } of [...this.factors, ...this.structure]) {
      parameter.dispose();
      first.dispose();
      second.dispose();
    }
  }

  private loss(tensors: Tensor[]): Scalar {
    const [inputs, outputs, widthsIn, widthsOut, locationsIn, locationsOut] = tensors as Tensor1D[];
    const { nIn, nOut } = this.sides;
    const maskedIn = mul(gaudiMask(widthsIn as Tensor1D, locationsIn as Tensor1D, nIn), inputs as Tensor);
    const maskedOut = mul(gaudiMask(widthsOut as Tensor1D, locationsOut as Tensor1D, nOut), outputs as Tensor);
    const dense = matMul(maskedOut as Tensor2D, maskedIn as Tensor2D, true);
    // Rows are summed first, because a single float32 sum over a large matrix loses digits.
    return div(sum(sum(squaredDifference(dense, this.target), 1)), this.power);
  }

  /** Reads widths and locations from the engine. */
  private async fetch(): Promise<void> {
    const blocks = this.widths.length / 2;
    const read = await Promise.all(this.structure.map(({ parameter }) => parameter.data()));
    read.forEach((values, i) => {
      (i < 2 ? this.widths : this.locations).set(values, (i % 2) * blocks);
    });
  }

  /** Lowers the widths to the budget and wraps the locations, on the host. */
  private project(): void {
    holdCount(this.widths, this.allowed, this.sides);
    for (let i = 0; i < this.locations.length; i++) {
      const location = this.locations[i] as number;
      this.locations[i] = location - Math.floor(location);
    }
  }

  /** Writes widths and locations to the engine. */
  private push(): void {
    this.halves().forEach((half, i) => {
      tidy(() => (this.structure[i] as Trained).parameter.assign(tensor1d(half)));
    });
  }

  /** Widths and locations, each split into input and output side. */
  private halves(): Float32Array[] {
    const blocks = this.widths.length / 2;
    return [this.widths, this.locations].flatMap((both) => [
      Float32Array.from(both.subarray(0, blocks)),
      Float32Array.from(both.subarray(blocks)),
    ]);
  }
}

const trained = (initial: Tensor): Trained =>
  tidy(() => ({
    parameter: variable(initial),
    first: variable(zerosLike(initial)),
    second: variable(zerosLike(initial)),
  }));

function group(all: readonly Trained[], gradients: Tensor[], learningRate: number): AdamwGroup {
  return {
    parameters: all.map(({ parameter }) => parameter),
    gradients,
    firstMoments: all.map(({ first }) => first),
    secondMoments: all.map(({ second }) => second),
    learningRate,
    betas: [0, 0.999],
    epsilon: 1e-8,
    weightDecay: 0,
  };
}
