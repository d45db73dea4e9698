// How many classes a config.json in Hugging Face's manner has. Their names are read in image-settings.ts.

/** transformers keeps labels, or their number, or neither and means two. */
export function classCount(json: Readonly<Record<string, unknown>>): number {
  const { num_labels: count, id2label: labels } = json;
  if (typeof labels === "object" && labels !== null) return Object.keys(labels).length;
  return Number.isSafeInteger(count) && (count as number) > 0 ? (count as number) : 2;
}
