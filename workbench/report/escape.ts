// Text made fit for XML and HTML, content and attributes alike.

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Control characters and halves of characters have no place in XML, not even escaped: they become spaces and marks. */
export function escaped(text: string): string {
  const visible = text.toWellFormed().replace(/[^\P{Cc}\n\t]|[\ufffe\uffff]/gu, " ");
  return visible.replace(/[&<>"']/g, (c) => ENTITIES[c] as string);
}
