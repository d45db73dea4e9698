// The forms of GBLR layers in inference, as `gblr inspect` prints them: which one was chosen for layers of one size and
// cost, and the measured times of all.

import { groupBy } from "../../../hub/text/group-by.ts";
import { countOf, threeDigits } from "../../../hub/text/numbers.ts";
import type { InspectedLayer } from "../../report/describe-model.ts";
import { shortNames } from "../../report/layer-names.ts";
import { type KnownForm, processor } from "../../structures/inference/kept-forms.ts";
import { FORM_NAMES } from "../../structures/structure.ts";
import { type Cell, type Palette, table, wrap } from "../shared/terminal.ts";

/** Longest name of a layer. */
const NAME = 24;

/** A choice, and the layers that share it. */
interface Shared extends KnownForm {
  layers: InspectedLayer[];
}

interface FormOptions {
  /** names of the layers whose forms are timed */
  timed: ReadonlySet<string>;
  palette: Palette;
}

/** The tables of measured forms, one for each setting of the engine; a hint if there are none. */
export function formLines(layers: readonly InspectedLayer[], { timed, palette }: FormOptions): string[] {
  const large = layers.filter(({ name }) => timed.has(name));
  if (large.length === 0) return [];
  const bySettings = groupBy(choicesOf(large), ({ settings }) => settings);
  const unknown = large.filter(({ forms }) => forms === undefined);
  const tables = [...bySettings].flatMap(([settings, choices]) => [
    "",
    palette.bold("Forms in inference"),
    ...wrap(`milliseconds of one product on ${processor()}, ${settings}; the fastest form is taken`),
    ...table([headings(palette), ...choices.map((choice) => cellsOf(choice, palette))]),
  ]);
  return [...tables, ...(tables.length > 0 ? [""] : []), ...hint(unknown.length)];
}

/** The choices, each with the layers that share it. */
function choicesOf(layers: readonly InspectedLayer[]): Shared[] {
  const found = new Map<string, Shared>();
  for (const layer of layers) {
    for (const form of layer.forms ?? []) {
      const key = JSON.stringify([form, layer.nIn, layer.nOut]);
      const known = found.get(key);
      if (known) known.layers.push(layer);
      else found.set(key, { ...form, layers: [layer] });
    }
  }
  return [...found.values()];
}

function headings({ dim }: Palette): Cell[] {
  const left = ["layers", "form"];
  return ["layers", "in × out", "rows", "form", ...FORM_NAMES].map((text) => ({
    text,
    align: left.includes(text) ? "left" : "right",
    paint: dim,
  }));
}

function cellsOf({ layers, rows, form, seconds }: Shared, { good }: Palette): Cell[] {
  const [{ name, nIn, nOut }] = layers as [InspectedLayer];
  const [short = ""] = shortNames([name], NAME);
  const others = layers.length > 1 ? ` and ${layers.length - 1} more` : "";
  const times = FORM_NAMES.map((each): Cell => {
    const time = seconds[each];
    const text = time === undefined ? "" : threeDigits(1000 * time);
    return { text, align: "right", ...(each === form && { paint: good }) };
  });
  return [
    { text: `${short}${others}` },
    { text: `${nIn} × ${nOut}`, align: "right" },
    { text: String(rows), align: "right" },
    { text: form },
    ...times,
  ];
}

function hint(unknown: number): string[] {
  if (unknown === 0) return [];
  const layers = countOf(unknown, "large GBLR layer");
  return wrap(
    `forms in inference not measured on this machine yet: ${layers}; \`gblr eval\` or \`generate\` measures them`,
  );
}
