// The section of a card about the sizes of a model: how it is cut, and what was measured at each size.

import { percent } from "../text/numbers.ts";
import { metricNamed, valueText } from "./comparison.ts";
import type { CardFacts } from "./facts.ts";
import { codeBlock, markdownTable, plain } from "./markdown.ts";

/** File name of the picture of a metric by size. */
export const SIZES_PICTURE = "sizes.png";

/** What a card says about the sizes of a model. */
export interface SizesFacts {
  /** smallest and largest share of the linear parameters that can be kept */
  range: readonly [number, number];
  /** what was measured at some sizes, with its value for the dense model */
  measured?: {
    metric: string;
    /** data set and split */
    on: string;
    dense: number;
    points: readonly { keep: number; value: number }[];
  };
}

/** The section "Sizes". Undefined for a model of one size. @returns Markdown */
export function sizesSection({ sizes, repository = "." }: CardFacts): string | undefined {
  if (!sizes) return undefined;
  const [least, most] = sizes.range.map((share) => percent(share));
  const keep = sizes.range[1];
  return [
    "## Sizes",
    `This folder holds models of all sizes from ${least} to ${most} of the parameters of the dense linear layers. Cut it to one of them before use:`,
    codeBlock("sh", `gblr export ${repository} --keep ${keep} --out cut`),
    `In Python, \`load(folder, keep=${keep})\` of \`modeling_gblr.py\` does the same.`,
    ...measuredParts(sizes.measured),
  ].join("\n\n");
}

function measuredParts(measured: SizesFacts["measured"]): string[] {
  if (!measured) return [];
  const { metric, on, dense, points } = measured;
  const { label } = metricNamed(metric);
  const rows = [...points.map(({ keep, value }) => ({ name: percent(keep), value })), { name: "dense", value: dense }];
  return [
    `${label[0]?.toUpperCase()}${label.slice(1)} on ${plain(on)}, without training after the cut:`,
    markdownTable(rows, [
      { heading: "linear parameters", align: "left", cell: ({ name }) => plain(name) },
      { heading: plain(label), align: "right", cell: ({ value }) => plain(valueText(metric, value)) },
    ]),
    `![${label} by size](${SIZES_PICTURE})`,
  ];
}
