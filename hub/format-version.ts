// The version of a stored format as a field of a schema: docs/format.md says what versions promise.

import { z } from "zod";

/** What is wrong with a version, as a clause after the field's name. */
export function versionProblem(known: number, is: unknown): string {
  const isNewer = typeof is === "number" && is > known;
  const shown = is === undefined ? "missing" : JSON.stringify(is)?.slice(0, 80);
  return `must be ${known}, is ${shown}${isNewer ? "; a newer version of gblr wrote it: update gblr" : ""}`;
}

/** Just this version; the message says which it is instead. */
export const formatVersion = <Version extends number>(known: Version) =>
  z.literal(known, { error: ({ input }) => versionProblem(known, input) });
