// The shrink rules.

export { budgetShrink } from "./budget.ts";
export { type FitOptions, type FittedWidths, fitWidths } from "./fit-widths.ts";
export type { BlockArrays, ShrinkRule, ShrinkState, ShrinkStep, Shrunk } from "./rule.ts";
export {
  adaptiveSoftshrink,
  adaptiveThreshold,
  HOLD,
  meanShrink,
  softshrink,
  targetedSoftshrink,
  targetedThreshold,
} from "./shift-rules.ts";
