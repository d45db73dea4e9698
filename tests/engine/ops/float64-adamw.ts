// AdamW and the global gradient norm in float64, element by element: the truth that adamwStep is held against.

import type { Values } from "./grid.ts";

export interface AdamwState {
  parameter: Values;
  first: Values;
  second: Values;
}

export interface AdamwSettings {
  learningRate: number;
  betas: readonly [number, number];
  epsilon: number;
  weightDecay: number;
}

/** One update in place, of a gradient that is clipped already; `step` counts from 1. */
export function adamw(state: AdamwState, gradient: Values, { step, ...settings }: AdamwSettings & { step: number }) {
  const { learningRate, betas, epsilon, weightDecay } = settings;
  const [beta1, beta2] = betas;
  gradient.forEach((g, i) => {
    const decayed = (state.parameter[i] as number) * (1 - learningRate * weightDecay);
    const first = beta1 * (state.first[i] as number) + (1 - beta1) * g;
    const second = beta2 * (state.second[i] as number) + (1 - beta2) * g * g;
    const root = Math.sqrt(second / (1 - beta2 ** step));
    state.first[i] = first;
    state.second[i] = second;
    state.parameter[i] = decayed - (learningRate * (first / (1 - beta1 ** step))) / (root + epsilon);
  });
}

export const norm = (gradients: readonly Values[]): number =>
  Math.sqrt(gradients.reduce((sum, gradient) => sum + gradient.reduce((part, g) => part + g * g, 0), 0));
