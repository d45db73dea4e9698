// What there is to say about a classifier beyond its accuracy: how far the splits are apart, which classes are taken for
// which.

import { metricNamed, metricsOf, valueText } from "../../../hub/card/metric-names.ts";
import { percent } from "../../../hub/text/numbers.ts";
import { commonMistakes, type Mistake } from "../charts/classification.ts";
import type { Classification } from "../run-record.ts";
import { type Html, table } from "./html.ts";

/** The splits side by side and, where there is a training split, how far the last one is from it. */
export function gapTable({ splits }: Pick<Classification, "splits">): Html {
  const names = Object.keys(splits);
  const metrics = metricsOf(Object.values(splits).map((values) => ({ metrics: values })));
  const last = names.at(-1) as string;
  const hasGap = names.length > 1 && names[0] === "train";
  const gap = (metric: string): string => {
    const [train, other] = [splits.train?.[metric], splits[last]?.[metric]];
    if (train === undefined || other === undefined) return "";
    const difference = other - train;
    const sign = difference < 0 ? "−" : "+";
    if (metricNamed(metric).isShare) return `${sign}${(100 * Math.abs(difference)).toFixed(2)} points`;
    return `${sign}${valueText(metric, Math.abs(difference))}`;
  };
  return table(metrics, {
    caption: "Splits side by side",
    columns: [
      { heading: "", cell: (metric) => metricNamed(metric).label },
      ...names.map((split) => ({
        heading: split,
        align: "right" as const,
        cell: (metric: string) => {
          const value = splits[split]?.[metric];
          return value === undefined ? "–" : valueText(metric, value);
        },
      })),
      ...(hasGap ? [{ heading: `gap, ${last} − train`, align: "right" as const, cell: gap }] : []),
    ],
  });
}

/** Instead of a square that has too many classes. */
export function mistakesTable({ classes, confusion = [] }: Classification): Html {
  return table<Mistake>(commonMistakes(classes, confusion), {
    caption: "Mistakes made most often",
    columns: [
      { heading: "class", cell: ({ actual }) => actual },
      { heading: "taken for", cell: ({ taken }) => taken },
      { heading: "images", align: "right", cell: ({ count }) => count },
      { heading: "of the class", align: "right", cell: ({ share }) => percent(share) },
    ],
  });
}
