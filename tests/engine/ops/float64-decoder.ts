// What rmsNorm, rotary and gatedActivation should give, in float64, and gradients of any such function by central
// differences, which share nothing with the gradients of the ops.

import { geluAt } from "./float64.ts";
import type { Values } from "./grid.ts";

export function rmsNorm({ x, gain, epsilon }: { x: Values; gain: Values; epsilon: number }): Values {
  const width = gain.length;
  return x.map((value, i) => {
    const row = x.subarray(i - (i % width), i - (i % width) + width);
    const meanSquare = row.reduce((sum, entry) => sum + entry * entry, 0) / width;
    return (value / Math.sqrt(meanSquare + epsilon)) * (gain[i % width] as number);
  });
}

/** x (..., tokens, headDim). Pairs of components are complex numbers times e^(i angle). */
export function rotary({ x, angles, headDim }: { x: Values; angles: Values[]; headDim: number }): Values {
  const half = angles[0]?.length ?? 0;
  return x.map((value, i) => {
    const component = i % headDim;
    if (component >= 2 * half) return value;
    const pair = component % half;
    const angle = angles[Math.floor(i / headDim) % angles.length]?.[pair] as number;
    const [re, im] = [x[i - component + pair] as number, x[i - component + pair + half] as number];
    return component < half ? re * Math.cos(angle) - im * Math.sin(angle) : re * Math.sin(angle) + im * Math.cos(angle);
  });
}

export type GateActivation = "silu" | "gelu_tanh";

export function gatedActivation({ gate, up }: { gate: Values; up: Values }, activation: GateActivation): Values {
  const activated = (x: number) => (activation === "silu" ? x / (1 + Math.exp(-x)) : geluAt(x, "tanh"));
  return gate.map((value, i) => activated(value) * (up[i] as number));
}

/** The gradient of Σ dy · f with respect to each operand, by central differences. */
export function differences<Operands extends Record<string, Values>>(
  operands: Operands,
  f: (operands: Operands) => Values,
  dy: Values,
): Record<keyof Operands, Values> {
  const step = 1e-5;
  const loss = (changed: Operands) => f(changed).reduce((sum, value, i) => sum + value * (dy[i] as number), 0);
  const gradients = Object.entries(operands).map(([name, values]) => {
    const slope = values.map((value, i) => {
      const at = (moved: number) => loss({ ...operands, [name]: values.with(i, moved) });
      return (at(value + step) - at(value - step)) / (2 * step);
    });
    return [name, slope];
  });
  return Object.fromEntries(gradients);
}
