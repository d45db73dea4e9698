// Names that are too long for their place: the end tells layers apart, so the beginning goes.

/** At most `length` characters. */
export function shortName(name: string, length: number): string {
  return name.length <= length ? name : `…${name.slice(name.length - length + 1)}`;
}
