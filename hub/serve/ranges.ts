// Which part of a content a request wants, by RFC 9110: Range, If-Range, If-None-Match, If-Match. Pure functions.

export type Selection =
  | { kind: "whole" }
  | { kind: "part"; start: number; length: number }
  | { kind: "unsatisfiable" }
  | { kind: "unchanged" }
  | { kind: "changed" };

export interface Conditions {
  /** bytes of the content */
  size: number;
  /** quoted */
  etag: string;
  header(name: string): string | undefined;
}

export function select({ size, etag, header }: Conditions): Selection {
  const match = header("if-match");
  if (match !== undefined && !lists(match, etag)) return { kind: "changed" };
  const noneMatch = header("if-none-match");
  if (noneMatch !== undefined && lists(noneMatch, etag)) return { kind: "unchanged" };
  const range = header("range");
  if (range === undefined) return { kind: "whole" };
  const condition = header("if-range");
  // A date, a weak tag or another tag: what the client has a part of may be something else.
  if (condition !== undefined && condition.trim() !== etag) return { kind: "whole" };
  return parseRange(range, size);
}

/** A range that is not understood, and one of several parts, is answered with the whole, as the RFC allows. */
function parseRange(range: string, size: number): Selection {
  const [, first = "", last = ""] = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(range) ?? [];
  if (first === "" && last === "") return { kind: "whole" };
  if (first === "") {
    const length = Math.min(Number(last), size);
    return length === 0 ? { kind: "unsatisfiable" } : { kind: "part", start: size - length, length };
  }
  const start = Number(first);
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== "" && Number(last) < start) return { kind: "whole" };
  return start >= size ? { kind: "unsatisfiable" } : { kind: "part", start, length: end - start + 1 };
}

function lists(header: string, etag: string): boolean {
  return header.split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag);
}
