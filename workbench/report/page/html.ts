// HTML templates, which escape all values except other templates, and the elements of pages: tables and sections.

import { escaped } from "../pictures/svg.ts";

/** Markup that is inserted without escaping. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Part = Html | string | number | undefined | readonly Part[];

/** Template tag: escapes values, joins lists, and writes undefined as nothing. */
export function html(literals: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(literals.map((literal, i) => literal + (i < parts.length ? textOf(parts[i]) : "")).join(""));
}

/** Marks markup that is inserted without escaping. @param svg a drawing or style sheet whose text has been escaped */
export const drawing = (svg: string): Html => new Html(svg);

/** A column of a table. */
export interface Column<Row> {
  heading: string;
  /** `right` for numbers. Default left */
  align?: "left" | "right";
  cell: (row: Row) => Part;
  /** whether the row has the best value of the column */
  isBest?: (row: Row) => boolean;
}

interface TableOptions<Row> {
  /** caption for screen readers; not visible */
  caption: string;
  columns: readonly Column<Row>[];
  /** `dense`: less space between rows, for long tables */
  kind?: "dense";
}

/** A table whose first column holds row headers. It scrolls if it is wider than the page. */
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

/** A section with a heading. @param id unique in the page */
export function section(id: string, heading: string, body: Part): Html {
  return html`<section aria-labelledby="${id}"><h2 id="${id}">${heading}</h2>\n${body}\n</section>\n`;
}

/** A paragraph in the soft color. */
export const sentence = (text: string): Html => html`<p class="soft">${text}</p>`;

function textOf(part: Part): string {
  if (part === undefined) return "";
  if (part instanceof Html) return part.text;
  if (typeof part === "string" || typeof part === "number") return escaped(String(part));
  return part.map(textOf).join("");
}
