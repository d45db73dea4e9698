// Measures how strong each input of each layer is: the mean of its square over sample data. It is the diagonal of the
// covariance that calibrate.ts computes, and takes n_in numbers for a layer instead of n_in².

import { keep, reshape, square, sum, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { isOwn, type Sharing, shared } from "../../distributed/shares.ts";
import type { Model } from "../../models/model.ts";
import { eventLoopTurn } from "../../structures/structure.ts";
import type { InputPowers } from "./units.ts";

/** Options of `inputPowers`. Several processes have the same inputs, which are dealt to them in turn. */
export interface InputPowersOptions<Input extends Tensor> extends Sharing {
  /** names of layers. Layers that receive no input have no powers in the result */
  layers: readonly string[];
  /** one forward pass; its result is disposed of */
  forward: (input: Input) => Tensor;
}

/** Progress of the measurement; the last event is its result. */
export type InputPowersEvent =
  | { kind: "progress"; inputs: number; rows: number }
  | { kind: "powers"; powers: InputPowers };

/**
 * Runs a model over inputs and computes the mean squares of the inputs of layers.
 * @param inputs inputs of the model, which are used and disposed of one after the other
 */
export async function* inputPowers<Input extends Tensor>(
  model: Model,
  inputs: AsyncIterable<Input>,
  { layers, forward, ranks, signal }: InputPowersOptions<Input>,
): AsyncGenerator<InputPowersEvent, void> {
  const own = ownSums(model, inputs, { layers, forward, ranks, signal });
  const shares = yield* shared("a calibration", own, { ranks, signal });
  const powers = new Map(
    layers.flatMap((name, i) => {
      const [sums, ...others] = shares.map((share) => share[i] as Sums) as [Sums, ...Sums[]];
      for (const { rows, squares } of others) addTo(sums, rows, squares);
      return sums.rows > 0 ? [[name, Float32Array.from(sums.squares, (value) => value / sums.rows)] as const] : [];
    }),
  );
  yield { kind: "powers", powers };
}

/** Rows of a layer, and the sums of the squares of its inputs. */
interface Sums {
  rows: number;
  squares: number[];
}

function addTo(sums: Sums, rows: number, squares: ArrayLike<number>): void {
  sums.rows += rows;
  for (let i = 0; i < squares.length; i++) sums.squares[i] = (sums.squares[i] as number) + (squares[i] as number);
}

/** @returns the sums of each layer, over the inputs of this process */
async function* ownSums<Input extends Tensor>(
  model: Model,
  inputs: AsyncIterable<Input>,
  { layers, forward, ranks, signal }: InputPowersOptions<Input>,
): AsyncGenerator<InputPowersEvent, Sums[]> {
  const sums = new Map(layers.map((name) => [name, { rows: 0, squares: new Array(model.layer(name).nIn).fill(0) }]));
  let [index, count] = [0, 0];
  for await (const input of inputs) {
    signal?.throwIfAborted();
    let seen: Seen[];
    try {
      seen = isOwn(ranks, index++) ? seenBy(model, sums, () => forward(input)) : [];
    } finally {
      input.dispose();
    }
    count += input.shape[0] ?? 1;
    for (const { name, rows, squares } of seen) {
      addTo(sums.get(name) as Sums, rows, await squares.data());
      squares.dispose();
    }
    yield { kind: "progress", inputs: count, rows: Math.max(0, ...Array.from(sums.values(), ({ rows }) => rows)) };
    await eventLoopTurn();
  }
  return [...sums.values()];
}

interface Seen {
  name: string;
  rows: number;
  /** sums of squares, (n_in); the caller disposes of them */
  squares: Tensor;
}

/** The inputs of layers in one forward pass. */
function seenBy(model: Model, names: ReadonlyMap<string, unknown>, run: () => Tensor): Seen[] {
  const seen: Seen[] = [];
  const before = model.observer;
  model.observer = (name, x) => {
    before?.(name, x);
    if (!names.has(name)) return;
    const { nIn } = model.layer(name);
    seen.push({ name, rows: x.size / nIn, squares: keep(tidy(() => sum(square(reshape(x, [-1, nIn])), 0))) });
  };
  try {
    tidy(() => void run());
  } finally {
    model.observer = before;
  }
  return seen;
}
