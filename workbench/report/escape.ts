// Text made fit for XML and HTML, content and attributes alike.

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Names as content and as attributes. */
export function escaped(text: string): string {
  return visible(text).replace(/[&<>"']/g, (c) => ENTITIES[c] as string);
}

/** Control characters and halves of characters have no place in XML, not even escaped: they become spaces and marks. */
export function visible(text: string): string {
  return text.toWellFormed().replace(/[^\P{Cc}\n\t]|[\ufffe\uffff]/gu, " ");
}
