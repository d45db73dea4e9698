// Measures how strong each input of each layer is: the mean of its square over sample data. It is the diagonal of the
// covariance that calibrate.ts computes, and takes n_in numbers for a layer instead of n_in².

import { keep, reshape, square, sum, type Tensor, tidy } from "@tensorflow/tfjs-core";
import type { Model } from "../../models/model.ts";
import { eventLoopTurn } from "../../structures/structure.ts";
import type { InputPowers } from "./units.ts";

/** Options of `inputPowers`. */
export interface InputPowersOptions<Input extends Tensor> {
  /** names of layers. Layers that receive no input have no powers in the result */
  layers: readonly string[];
  /** one forward pass; its result is disposed of */
  forward: (input: Input) => Tensor;
  signal?: AbortSignal | undefined;
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
  { layers, forward, signal }: InputPowersOptions<Input>,
): AsyncGenerator<InputPowersEvent, void> {
  const sums = new Map(layers.map((name) => [name, { rows: 0, squares: new Float64Array(model.layer(name).nIn) }]));
  let count = 0;
  for await (const input of inputs) {
    signal?.throwIfAborted();
    let seen: Seen[];
    try {
      seen = seenBy(model, sums, () => forward(input));
    } finally {
      input.dispose();
    }
    count += input.shape[0] ?? 1;
    for (const { name, rows, squares } of seen) {
      const own = sums.get(name) as { rows: number; squares: Float64Array };
      own.rows += rows;
      for (const [i, value] of (await squares.data()).entries()) own.squares[i] = (own.squares[i] as number) + value;
      squares.dispose();
    }
    yield { kind: "progress", inputs: count, rows: Math.max(0, ...Array.from(sums.values(), ({ rows }) => rows)) };
    await eventLoopTurn();
  }
  const seen = [...sums].filter(([, { rows }]) => rows > 0);
  const powers = new Map(
    seen.map(([name, { rows, squares }]) => [name, Float32Array.from(squares, (value) => value / rows)]),
  );
  yield { kind: "powers", powers };
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
