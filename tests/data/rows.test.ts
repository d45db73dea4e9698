// Rows out of files: parquet of several codecs and row groups, lines of text and of JSON, packed ones, and what is refused.

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { rowsOf } from "../../workbench/data/dataset/rows.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { CODECS, parquetFile } from "./write-parquet.ts";

const folder = temporaryFolder();

async function rowsIn(name: string, content: string | Uint8Array, column = "text"): Promise<string[]> {
  writeFileSync(folder(name), content);
  const rows: string[] = [];
  let last = 0;
  for await (const { texts, fraction } of rowsOf(folder(name), column)) {
    rows.push(...texts);
    expect(fraction).toBeGreaterThanOrEqual(last);
    expect(fraction).toBeLessThanOrEqual(1);
    last = fraction;
  }
  return rows;
}

async function refusal(name: string, content: string | Uint8Array, column?: string): Promise<string> {
  const error = await rowsIn(name, content, column).then(
    () => new Error("not refused"),
    (thrown: Error) => thrown,
  );
  expect(error.name).toBe("DataError");
  expect(error.message).not.toContain("\n");
  return error.message.replace(folder(name), name);
}

describe("parquet", () => {
  const groups = [
    { id: [1, 2, 3], text: ["one\n", null, ""] },
    { id: [4, 5], text: ["dëux 👩‍👩‍👧\r\n", "trois"] },
    { id: [6], text: [null] },
  ];

  test.each(Object.keys(CODECS).map((codec) => [codec] as const))(
    "of codec %s gives its rows in order, without nulls",
    async (codec) => {
      const file = parquetFile(groups, codec as keyof typeof CODECS);
      expect(await rowsIn(`${codec}.parquet`, file)).toEqual(["one\n", "", "dëux 👩‍👩‍👧\r\n", "trois"]);
    },
  );

  test("is refused by its column, in one line with what there is", async () => {
    const file = parquetFile(groups);
    expect(await refusal("column.parquet", file, "sentence")).toBe(
      'column.parquet: has no column "sentence"; there is id, text',
    );
    expect(await refusal("column.parquet", file, "id")).toBe('column.parquet: column "id" holds DOUBLE, not text');
  });

  test("that is cut off or none is refused, never read as less", async () => {
    const file = parquetFile(groups, "gzip");
    expect(await refusal("no.parquet", "just text")).toMatch(
      /^no\.parquet: is no parquet file, or a damaged one: .+; fetch it again$/,
    );
    for (const length of [0, 3, 11, file.length >> 1, file.length - 1])
      await refusal("cut.parquet", file.subarray(0, length));
  });

  test("whose pages are damaged is refused", async () => {
    const file = parquetFile(groups, "zstd");
    file.fill(0xff, 4, 100);
    await refusal("page.parquet", file);
  });
});

describe("lines", () => {
  test("of text keep their ends; the last may have none; empty ones are rows", async () => {
    expect(await rowsIn("a.txt", "one\n\n two \r\nthree")).toEqual(["one\n", "\n", " two \r\n", "three"]);
    expect(await rowsIn("b.txt", "")).toEqual([]);
    expect(await rowsIn("c.txt", "\n")).toEqual(["\n"]);
    expect(await rowsIn("d.txt.gz", gzipSync("packed\nlines\n"))).toEqual(["packed\n", "lines\n"]);
  });

  test("of text are those of the whole, wherever chunks of the file end", async () => {
    const unit = fc.constantFrom("a", "é", "👩", "\n", "\r", " ");
    await fc.assert(
      fc.asyncProperty(fc.string({ unit, maxLength: 30 }), fc.nat({ max: 4 }), async (text, before) => {
        const long = `${"x".repeat(2 ** 20 - before)}${text}${"é\n".repeat(3)}`;
        expect(await rowsIn("long.txt", long)).toEqual(long.split(/(?<=\n)/));
      }),
      { numRuns: 20 },
    );
  });

  test("of JSON give the column; nulls and empty lines are skipped", async () => {
    const lines = ['\ufeff{"text":"a\\n","n":1}', '{"text":null}', "", '{"n":2,"text":"\\ud83d"}', '{"text":""}'].join(
      "\n",
    );
    expect(await rowsIn("a.jsonl", lines)).toEqual(["a\n", "\ud83d", ""]);
    expect(await rowsIn("b.jsonl.gz", gzipSync(lines))).toEqual(["a\n", "\ud83d", ""]);
  });

  test("of JSON are refused with the line's number", async () => {
    expect(await refusal("a.jsonl", '{"text":"a"}\n{"body":"b","n":1}\n')).toBe(
      'a.jsonl: line 2 has no column "text"; there is body, n',
    );
    expect(await refusal("b.jsonl", '{"text":"a"}\n{"text":3}\n')).toBe(
      'b.jsonl: line 2: column "text" holds a number, not text',
    );
    expect(await refusal("c.jsonl", '{"text":"a"}\n{"text":\n')).toMatch(
      /^c\.jsonl: line 2 is no JSON: .+; a file has one object a line$/,
    );
    expect(await refusal("d.json", "[1]\n")).toBe("d.json: line 1 is no object; a file has one object a line");
  });

  test("packed in a file that is cut off are refused", async () => {
    const packed = gzipSync("line\n".repeat(1000));
    expect(await refusal("cut.txt.gz", packed.subarray(0, packed.length - 12))).toMatch(
      /^cut\.txt\.gz: cannot be read: /,
    );
  });
});

test("a file of another kind is refused by name", async () => {
  expect(() => rowsOf("table.csv", "text")).toThrow(
    "table.csv: is of no kind that is read here: .parquet, .jsonl, .ndjson, .json (lines) or .txt",
  );
});
