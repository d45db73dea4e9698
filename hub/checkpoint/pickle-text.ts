// The text opcodes of the oldest pickles: numbers and strings written out, with Python's escapes.

import type { PickleValue } from "./pickle-values.ts";

/** A safe integer as a number, any other as a bigint. */
export function integer(value: bigint): number | bigint {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

/** @returns undefined for what is no integer; `00` and `01` are Python's False and True */
export function parseInteger(line: string): PickleValue | undefined {
  if (line === "00" || line === "01") return line === "01";
  const digits = line.trim().replace(/L$/, "");
  return /^[+-]?\d{1,400}$/.test(digits) ? integer(BigInt(digits.replace(/^\+/, ""))) : undefined;
}

/** @returns undefined for what is no number */
export function parseFloat64(line: string): number | undefined {
  const text = line.trim().toLowerCase();
  const named: Record<string, number> = { inf: Infinity, "-inf": -Infinity, nan: NaN, "-nan": NaN };
  if (Object.hasOwn(named, text)) return named[text];
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(text) ? Number(text) : undefined;
}

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v" };

/** The text between Python's quotes. @returns undefined where there are none */
export function parseQuoted(line: string): string | undefined {
  const text = line.trim();
  const quoteMark = text[0];
  if (text.length < 2 || (quoteMark !== "'" && quoteMark !== '"') || !text.endsWith(quoteMark)) return undefined;
  return text.slice(1, -1).replace(/\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)/g, (_, written: string) => {
    if (/^x./.test(written)) return String.fromCharCode(Number.parseInt(written.slice(1), 16));
    if (/^[0-7]/.test(written)) return String.fromCharCode(Number.parseInt(written, 8));
    return ESCAPES[written] ?? written;
  });
}

/** Text in which \uXXXX and \UXXXXXXXX stand for characters. */
export function parseRawUnicode(line: string): string {
  return line.replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (all, short?: string, long?: string) => {
    const code = Number.parseInt(short ?? long ?? "", 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
}
