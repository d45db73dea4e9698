// Names that are too long for their place: the end tells layers apart, so the beginning goes.

/** At most `length` characters, cut at a dot where that costs less than half. */
export function shortName(name: string, length: number): string {
  if (name.length <= length) return name;
  const end = name.slice(name.length - length + 1);
  const dot = end.indexOf(".");
  return `…${dot >= 0 && dot < length / 2 ? end.slice(dot) : end}`;
}
