// HTML as text that cannot be broken into: what is put into a template is escaped unless it is itself made of such
// templates. The elements here are those of our pages; what they say is the caller's.

import { escaped } from "../pictures/svg.ts";

/** Markup that is safe as it is. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Part = Html | string | number | undefined | readonly Part[];

/** A template whose values are escaped; lists are joined, undefined is nothing. */
export function html(literals: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(literals.map((literal, i) => literal + (i < parts.length ? textOf(parts[i]) : "")).join(""));
}

/** @param svg that we have drawn, with escaped text inside */
export const drawing = (svg: string): Html => new Html(svg);

export interface Column<Row> {
  heading: string;
  /** numbers stand below each other */
  align?: "left" | "right";
  cell: (row: Row) => Part;
  /** the best in its column */
  isBest?: (row: Row) => boolean;
}

export interface TableOptions<Row> {
  /** read out before the table */
  caption: string;
  columns: readonly Column<Row>[];
  /** `dense`: low rows, for long tables */
  kind?: "dense";
}

/** The first column heads its row. A table wider than the page scrolls by itself. */
export function table<Row>(rows: readonly Row[], { caption, columns, kind }: TableOptions<Row>): Html {
  const side = ({ align }: Column<Row>) => (align === "right" ? html` class="number"` : html``);
  const heads = columns.map((column) => html`<th scope="col"${side(column)}>${column.heading}</th>`);
  const cells = (row: Row) =>
    columns.map((column, i) => {
      const content = column.isBest?.(row)
        ? html`<strong class="best" title="best">${column.cell(row)}</strong>`
        : column.cell(row);
      return i === 0 ? html`<th scope="row"${side(column)}>${content}</th>` : html`<td${side(column)}>${content}</td>`;
    });
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table class="${kind}">
<caption>${caption}</caption>
<thead><tr>${heads}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${cells(row)}</tr>\n`)}</tbody>
</table></div>`;
}

/** @param id unique in the page */
export function section(id: string, heading: string, body: Part): Html {
  return html`<section aria-labelledby="${id}"><h2 id="${id}">${heading}</h2>\n${body}\n</section>\n`;
}

export const sentence = (text: string): Html => html`<p class="soft">${text}</p>`;

function textOf(part: Part): string {
  if (part === undefined) return "";
  if (part instanceof Html) return part.text;
  if (typeof part === "string" || typeof part === "number") return escaped(String(part));
  return part.map(textOf).join("");
}
