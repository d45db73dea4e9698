// Shrink rules: the public surface of this folder.

export { budgetShrink } from "./budget.ts";
export type { BlockArrays, ShrinkRule, ShrinkState, ShrinkStep, Shrunk } from "./rule.ts";
export {
  adaptiveSoftshrink,
  HOLD,
  meanShrink,
  softshrink,
  targetedSoftshrink,
} from "./shift-rules.ts";
