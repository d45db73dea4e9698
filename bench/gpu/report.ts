// What bench/gpu.sh writes: the results of all parts, and one table of them in Markdown.

import { formatBytes } from "../../hub/text/numbers.ts";
import type { Row } from "./rows.ts";

export interface PartResult {
  name: string;
  /** seconds that it was allowed, and took */
  limit: number;
  seconds: number;
  rows: Row[];
  /** why there are no rows, one line */
  error?: string;
}

export interface GpuReport {
  date: string;
  machine: { cpu: string; cores: number; memory: number };
  device: string;
  precision: string;
  quick: boolean;
  /** of all parts so far */
  seconds: number;
  parts: PartResult[];
}

/** The part to whose first row the rows of the other training parts are compared. */
const PEER = "GPT-2 training, PyTorch dense";

export function markdown(report: GpuReport): string {
  const { date, machine, device, precision, quick, seconds } = report;
  const peer = report.parts.find(({ name }) => name === PEER)?.rows[0];
  return [
    `# ${device}, ${precision}${quick ? ", small sizes" : ""}`,
    "",
    `${date.slice(0, 10)}, ${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memory)} of memory; ${seconds.toFixed(0)} s in all.`,
    "",
    "| part | what | value | ratio | peak memory | seconds |",
    "| :-- | :-- | --: | --: | --: | --: |",
    ...report.parts.flatMap((part) => linesOf(part, peer)),
    "",
  ].join("\n");
}

function linesOf({ name, rows, seconds, error }: PartResult, peer: Row | undefined): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  if (error !== undefined) return [line([name, `**failed**: ${error}`, "", "", "", seconds.toFixed(0)])];
  return rows.map((row, at) => {
    const { what, value, unit, peak, error: failure } = row;
    const { ratio, to } = comparedTo(row, name.startsWith("GPT-2 training") ? peer : undefined);
    return line([
      at === 0 ? name : "",
      what,
      failure === undefined ? `${Number(value.toPrecision(4))} ${unit}` : `**failed**: ${failure}`,
      ratio === undefined ? "" : `${ratio.toFixed(2)} of ${to}`,
      peak === undefined ? "" : formatBytes(peak),
      at === 0 ? seconds.toFixed(0) : "",
    ]);
  });
}

function comparedTo(row: Row, peer: Row | undefined): Pick<Row, "ratio" | "to"> {
  return peer === undefined || row.ratio !== undefined ? row : { ratio: row.value / peer.value, to: "PyTorch" };
}
