// What an answer with a part of a file says that it is.

/** Why a part is not the one that was asked for, as a clause; nothing if it is. @param asked first byte; bytes of the whole file */
export function wrongRange(
  { headers }: Response,
  { start, size }: { start: number; size: number },
): string | undefined {
  const header = headers.get("content-range");
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header ?? "") ?? [];
  if (Number(first) !== start) return `byte ${start} was asked for and "${header}" came`;
  return total === "*" || Number(total) === size ? undefined : `it has ${total} bytes now, not ${size}`;
}
