// The part of `gblr convert` for models of several sizes: the option --sizes, and what is said about the sizes when they
// were measured.

import { InvalidArgumentError } from "commander";
import { valueText } from "../../../hub/card/comparison.ts";
import type { SizesFacts } from "../../../hub/card/index.ts";
import { percent } from "../../../hub/text/numbers.ts";
import type { CheckOutcome } from "../../pipeline/check/check.ts";
import type { SizeScore } from "../../pipeline/check/sizes.ts";
import { structureNamed, structures } from "../../structures/registry.ts";
import { dataOf } from "../shared/check-data.ts";
import { UsageError } from "../shared/program.ts";
import { flagOf } from "../shared/settings.ts";
import { wrap } from "../shared/terminal.ts";
import type { ConversionCheck } from "./check.ts";
import type { ConvertVerbOptions } from "./options.ts";

/** Step of the sizes at which ranks are fitted; other sizes are between two of them. */
const SIZE_STEP = 0.1;

/** Parser of a range of sizes, e.g. 0.2..0.8. */
export function sizesIn(text: string): number[] {
  const [from, to] = (/^([\d.]+)\.\.([\d.]+)$/.exec(text) ?? []).slice(1).map(Number) as [number?, number?];
  if (!(from !== undefined && to !== undefined && from > 0 && from < to && to <= 1)) {
    throw new InvalidArgumentError("It must be two shares, the smaller one first, e.g. 0.2..0.8.");
  }
  const steps = Math.max(1, Math.round((to - from) / SIZE_STEP));
  const sizes = Array.from({ length: steps + 1 }, (_, i) => Number((from + (i * (to - from)) / steps).toFixed(6)));
  // Readers refuse a record whose sizes are 0 or the same.
  if (!sizes.every((size, i) => size > (sizes[i - 1] ?? 0))) {
    throw new InvalidArgumentError("The shares must differ by more than 1e-6 from each other and from 0.");
  }
  return sizes;
}

/** Checks the options of a model of several sizes. */
export function checkSizes(options: ConvertVerbOptions): void {
  const { sizes, structure, init } = options;
  if (!sizes) return;
  const { nested } = structureNamed(structure);
  if (!nested) {
    const able = structures().flatMap((each) => (each.nested ? [each.name] : []));
    throw new UsageError(`--sizes is for ${able.join(" and ")}, not ${structure}`);
  }
  if (!nested[init]) {
    const able = Object.keys(nested).map((name) => `--init ${name}`);
    throw new UsageError(`--sizes of ${structure} needs ${able.join(" or ")}, not ${init}`);
  }
  // With other structures, search is refused above.
  const lacksData = init === "search" && options.calibrate === undefined;
  if (lacksData) throw new UsageError(`--sizes of ${structure} needs --calibrate; give a data set to calibrate on`);
  const other = (["quantum", "blockRank", "stableBlocks", "sequential", "maxLossIncrease"] as const).find(
    (name) => options[name] !== undefined,
  );
  if (other) throw new UsageError(`${flagOf(other)} is for one size, and --sizes makes several; leave it out`);
}

/** The scores of a model of several sizes as lines of text. */
export function sizeLines({ check }: ConversionCheck, scores: readonly SizeScore[] = []): string[] {
  const { metric, label } = check.measure;
  if (scores.length === 0) return [];
  const values = scores.map(({ keep, metrics }) => `${percent(keep)}: ${valueText(metric, metrics[metric] as number)}`);
  return wrap(`${label} by size: ${values.join(", ")}`);
}

/** What the card of a model of several sizes says about them. */
export function sizesFacts(
  sizes: readonly number[],
  {
    checked,
    outcome,
    scores = [],
  }: { checked: ConversionCheck | undefined; outcome: CheckOutcome | undefined; scores: SizeScore[] | undefined },
): SizesFacts {
  const range = [sizes[0] as number, sizes.at(-1) as number] as const;
  if (!checked || !outcome) return { range };
  const { metric } = checked.check.measure;
  const points = scores.map(({ keep, metrics }) => ({ keep, value: metrics[metric] as number }));
  const dense = outcome.before.metrics[metric] as number;
  return { range, measured: { metric, on: dataOf(checked.check), dense, points } };
}
