// The check of `gblr convert --check`: opens its data and the record of its measurements, and describes its result as
// text. The work is done in pipeline/check.

import { valueText } from "../../../hub/card/comparison.ts";
import { percent } from "../../../hub/text/numbers.ts";
import type { Engine } from "../../engine/core/types.ts";
import type { Model } from "../../models/index.ts";
import type { CheckOutcome } from "../../pipeline/check/check.ts";
import { type OpenCheck, openCheck } from "../../pipeline/check/open-check.ts";
import { CheckRecord, folderState } from "../../pipeline/check/record.ts";
import type { Source } from "../../pipeline/fetch.ts";
import { costFacts, sizeOnDisk } from "../../pipeline/measure.ts";
import type { CheckedRows } from "../../pipeline/results/conversion-results.ts";
import type { PipelineEvent, StageContext } from "../../pipeline/stage.ts";
import { dense } from "../../structures/dense.ts";
import { checkSettingsOf, comparedLine } from "../shared/check-data.ts";
import { wrap } from "../shared/terminal.ts";
import { versionsOf } from "../shared/versions.ts";
import type { ConvertVerbOptions } from "./options.ts";

/** The opened check of a conversion. Its data must be closed. */
export interface ConversionCheck {
  check: OpenCheck;
  record: CheckRecord;
  /** facts of the model before its conversion, for its row in the results */
  cost: Awaited<ReturnType<typeof costFacts>> & Awaited<ReturnType<typeof sizeOnDisk>>;
}

interface Opened {
  /** the dense model */
  model: Model;
  source: Source;
  engine: Engine;
  context: StageContext;
}

/** Options that do not change what is measured. */
const WITHOUT_EFFECT = ["out", "force", "json", "dryRun", "maxLossIncrease", "calibrateMemory", "threads"];

/** Opens the data set of --check and the record of earlier measurements; undefined without --check. */
export async function* openConversionCheck(
  options: ConvertVerbOptions,
  { model, source, engine, context }: Opened,
): AsyncGenerator<PipelineEvent, ConversionCheck | undefined> {
  const settings = checkSettingsOf(options);
  if (!settings) return undefined;
  const check = yield* openCheck(settings, { model, source, context });
  try {
    const asked = Object.entries(options).filter(([name]) => !WITHOUT_EFFECT.includes(name));
    const record = await CheckRecord.open(context.cache, {
      options: Object.fromEntries(asked),
      model: await folderState(source.folder),
      data: await folderState(check.folder),
      versions: versionsOf(engine),
      engine: [engine.name, engine.device, engine.precision],
    });
    return { check, record, cost: { ...(await costFacts(model)), ...(await sizeOnDisk(source.folder)) } };
  } catch (error) {
    await check.close();
    throw error;
  }
}

/** The rows of results.json that a check adds. */
export function checkedRows({ check, cost }: ConversionCheck, { before, after, putBack }: CheckOutcome): CheckedRows {
  const base = { name: dense.stored.title, structure: dense.name, stage: "before" as const };
  return {
    dataset: check.dataset,
    split: check.split,
    before: { ...base, ...before, ...cost },
    after,
    ...(putBack.length > 0 && { note: `put back to dense: ${putBack.map(({ layer }) => layer).join(", ")}` }),
  };
}

/** The result of a check as lines of text. */
export function checkLines({ check }: ConversionCheck, outcome: CheckOutcome): string[] {
  const { metric, before, converted, after, increase, limit, putBack, evaluations } = outcome;
  const value = (score: CheckOutcome["before"]) => valueText(metric, score.metrics[metric] as number);
  const change = (name: keyof CheckOutcome["increase"]) => check.measure.text(increase[name]);
  const { measure } = check;
  const first = comparedLine(check, before, converted);
  const asked = limit === undefined ? "" : `, limit ${limit} ${measure.unit}`;
  if (putBack.length === 0) return [`${first}${asked}`];
  const layers = putBack.map(({ layer, share }) => `${layer} (${percent(share)})`).join(", ");
  return [
    `${first}${asked}`,
    ...wrap(`put back to dense, with their shares of the harm: ${layers}`),
    `with ${putBack.length === 1 ? "it" : "them"}: ${measure.label} ${value(after)} (${change("after")}), after ${evaluations} evaluations`,
  ];
}
