// The table of a run's layers: cost, live blocks and error of the conversion. The numbers are from the model folder if
// there is one, else from the last line of kind structure in metrics.jsonl and from conversion.json.

import { isDense } from "../../../hub/model-folder/index.ts";
import { formatCount, percent } from "../../../hub/text/numbers.ts";
import type { StructureMetrics } from "../../train/metrics.ts";
import type { Inspection } from "../describe-model.ts";
import type { ConvertedLayer } from "../run-record.ts";
import { type Column, type Html, html, table } from "./html.ts";

interface LayerRow {
  layer: string;
  structure?: string | undefined;
  nIn?: number | undefined;
  nOut?: number | undefined;
  /** multiply-adds per row of input */
  cost?: number | undefined;
  /** cost relative to dense */
  share?: number | undefined;
  live?: number | undefined;
  blocks?: number | undefined;
  /** share of the entries that no block covers */
  uncovered?: number | undefined;
  /** error of the entries right after the conversion, ‖W − Ŵ‖ / ‖W‖ */
  relativeError?: number | undefined;
}

interface LayerSources {
  inspection?: Inspection | undefined;
  structure?: StructureMetrics | undefined;
  conversion?: readonly ConvertedLayer[] | undefined;
}

/** One row per layer that is not dense, in the order of the model. */
export function layerRows({ inspection, structure, conversion = [] }: LayerSources): LayerRow[] {
  const converted = new Map(conversion.map((layer) => [layer.layer, layer]));
  if (inspection) {
    return inspection.layers
      .filter((layer) => !isDense(layer.structure))
      .map(({ name, blocks, ...layer }) => ({
        layer: name,
        structure: layer.structure,
        nIn: layer.nIn,
        nOut: layer.nOut,
        cost: layer.cost,
        share: layer.share,
        live: blocks?.live,
        blocks: blocks?.all,
        uncovered: blocks?.uncovered,
        relativeError: recordOf(name, converted)?.relativeError,
      }));
  }
  const names = structure ? Object.keys(structure.layers) : conversion.map(({ layer }) => layer);
  return names.map((name) => {
    const [now, before] = [structure?.layers[name], converted.get(name)];
    const cost = now?.cost ?? before?.costAfter;
    return {
      layer: name,
      structure: before?.structure,
      nIn: before?.nIn,
      nOut: before?.nOut,
      cost,
      share: before && cost !== undefined ? cost / before.costBefore : undefined,
      live: now?.live,
      relativeError: before?.relativeError,
    };
  });
}

/** The record of a layer, whose name in files may have a prefix, such as `model.`, that conversion.json does not have. */
function recordOf(name: string, converted: ReadonlyMap<string, ConvertedLayer>): ConvertedLayer | undefined {
  const found = converted.get(name);
  const dot = name.indexOf(".");
  return found || dot < 0 ? found : recordOf(name.slice(dot + 1), converted);
}

/** The rows as a table; columns that are empty in every row are left out. */
export function layerTable(rows: readonly LayerRow[]): Html {
  const number = (
    heading: string,
    value: (row: LayerRow) => number | undefined,
    text: (value: number) => string,
  ): Column<LayerRow> => ({
    heading,
    align: "right",
    cell: (row) => {
      const found = value(row);
      return found === undefined ? "" : text(found);
    },
  });
  const columns: Column<LayerRow>[] = [
    { heading: "layer", cell: ({ layer }) => layer },
    { heading: "structure", cell: ({ structure }) => structure ?? "" },
    {
      heading: "in × out",
      align: "right",
      cell: ({ nIn, nOut }) => (nIn === undefined || nOut === undefined ? "" : `${nIn} × ${nOut}`),
    },
    number("cost", ({ cost }) => cost, formatCount),
    number("share of dense", ({ share }) => share, percent),
    {
      heading: "live blocks",
      align: "right",
      cell: ({ live, blocks }) => (live === undefined ? "" : blocks === undefined ? `${live}` : `${live} of ${blocks}`),
    },
    number("not covered", ({ uncovered }) => uncovered, percent),
    number("error of conversion", ({ relativeError }) => relativeError, percent),
  ];
  const used = columns.filter(({ cell }) => rows.some((row) => cell(row) !== ""));
  return html`${table(rows, { caption: "Layers", columns: used, kind: "dense" })}
<p class="soft">Cost is in multiply-adds per row of input. The error is ‖W − Ŵ‖ / ‖W‖ right after conversion.</p>`;
}
