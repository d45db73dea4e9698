// Gradients that free what they no longer need, one import for all.

export { recompute } from "./recompute.ts";
export { type GradientOptions, type ValueAndGradients, valueAndGradients } from "./value-and-gradients.ts";
