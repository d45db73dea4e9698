// Rows out of files: parquet of several codecs and row groups, lines of text and of JSON, packed ones, and what is refused.

import { describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
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
      'column.parquet: has no column "sentence"; available: id, text',
    );
    expect(await refusal("column.parquet", file, "id")).toBe('column.parquet: column "id" holds DOUBLE, not text');
  });

  test("that is cut off or none is refused, never read as less", async () => {
    const file = parquetFile(groups, "gzip");
    expect(await refusal("no.parquet", "just text")).toMatch(
      /^no\.parquet: is not a parquet file, or is damaged: .+; fetch it again$/,
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
    const lines = [
      '\ufeff{"text":"a\\n","n":1}',
      '{"text":null}',
      "",
      '{"n":2,"text":"\\ufffd👩"}',
      '{"text":""}',
    ].join("\n");
    expect(await rowsIn("a.jsonl", lines)).toEqual(["a\n", "\ufffd👩", ""]);
    expect(await rowsIn("b.jsonl.gz", gzipSync(lines))).toEqual(["a\n", "\ufffd👩", ""]);
  });

  test("of JSON may have columns of any name", async () => {
    const lines = '{"text":"a","toString":"b","__proto__":"c","constructor":"d"}\n';
    expect(await rowsIn("named.jsonl", lines, "toString")).toEqual(["b"]);
    expect(await rowsIn("named.jsonl", lines, "__proto__")).toEqual(["c"]);
    expect(await rowsIn("named.json", lines, "constructor")).toEqual(["d"]);
    expect(await refusal("plain.jsonl", '{"text":"a"}\n', "toString")).toBe(
      'plain.jsonl: line 1 has no column "toString"; available: text',
    );
  });

  test("of JSON may have numbers that only Python writes", async () => {
    const lines = '{"text":"a","score":NaN}\n{"score":[Infinity,-Infinity],"text":"NaN: \\"Infinity\\" NaN"}\n';
    expect(await rowsIn("python.jsonl", lines)).toEqual(["a", 'NaN: "Infinity" NaN']);
    expect(await refusal("python.jsonl", '{"text":NaN}\n')).toBe(
      'python.jsonl: line 1: column "text" holds a number, not text',
    );
    expect(await refusal("no.jsonl", '{"text":"a","score":NaN1}\n')).toMatch(/^no\.jsonl: line 1 is not valid JSON: /);
  });

  test("of JSON are refused with the line's number", async () => {
    expect(await refusal("a.jsonl", '{"text":"a"}\n{"body":"b","n":1}\n')).toBe(
      'a.jsonl: line 2 has no column "text"; available: body, n',
    );
    expect(await refusal("b.jsonl", '{"text":"a"}\n{"text":3}\n')).toBe(
      'b.jsonl: line 2: column "text" holds a number, not text',
    );
    expect(await refusal("c.jsonl", '{"text":"a"}\n{"text":\n')).toMatch(
      /^c\.jsonl: line 2 is not valid JSON: .+; expected one object per line$/,
    );
    expect(await refusal("d.jsonl", "[1]\n")).toBe("d.jsonl: line 1 is not an object; expected one object per line");
    expect(await refusal("e.jsonl", '{"text":"\\ud83d"}\n')).toBe(
      'e.jsonl: line 1: column "text" contains half of a surrogate pair, such as a lone \\ud83d, which is not a character; correct or remove the row',
    );
  });

  test("packed in a file that is cut off are refused", async () => {
    const packed = gzipSync("line\n".repeat(1000));
    expect(await refusal("cut.txt.gz", packed.subarray(0, packed.length - 12))).toMatch(
      /^cut\.txt\.gz: cannot be read: /,
    );
  });
});

describe("a .json file", () => {
  const rows = [
    { text: 'one {"[\\', n: Number.NaN, inner: { text: "no", list: [{}, []] } },
    { text: "dëux\n}", n: 1 },
    { text: null },
    { n: 2, text: "" },
  ];
  const texts = ['one {"[\\', "dëux\n}", ""];
  /** As json.dump writes it. */
  const python = (value: unknown, indent?: number) =>
    JSON.stringify(value, (_, held) => (Number.isNaN(held) ? "@NaN" : held), indent).replaceAll('"@NaN"', "NaN");

  test.each([
    ["one array", python(rows)],
    ["an array over several lines", `${python(rows, 2)}\n`],
    ["objects over several lines", rows.map((row) => python(row, 4)).join("\n")],
    ["objects after one another", `\ufeff\n ${rows.map((row) => python(row, 1)).join("")}`],
    ["an object a line", rows.map((row) => `${python(row)}\n`).join("")],
  ])("reads as rows when it is %s", async (name, content) => {
    expect(await rowsIn(`${name}.json`, content)).toEqual(texts);
    expect(await rowsIn(`${name}.json.gz`, gzipSync(content))).toEqual(texts);
  });

  test("of one object is one row, of nothing none", async () => {
    expect(await rowsIn("one.json", python(rows[0], 2))).toEqual(texts.slice(0, 1));
    for (const content of ["", " \n", "[]", "[\n]\n"]) expect(await rowsIn("none.json", content)).toEqual([]);
  });

  test("is read as it comes, an array and lines alike", async () => {
    const row = JSON.stringify({ text: "é".repeat(1000) });
    for (const content of [`[${Array(3000).fill(row).join(",\n")}]`, Array(3000).fill(row).join("\n")]) {
      writeFileSync(folder("large.json"), content);
      const parts: number[] = [];
      for await (const { texts } of rowsOf(folder("large.json"), "text")) parts.push(texts.length);
      expect(parts.reduce((sum, count) => sum + count, 0)).toBe(3000);
      expect(Math.max(...parts)).toBeLessThan(1100);
    }
  });

  test("that is no list of objects is refused where it stops being one", async () => {
    expect(await refusal("a.json", "[1]\n")).toBe(
      'a.json: line 1: "1" is where an object of the array should begin or end',
    );
    expect(await refusal("b.json", '[{"text":"a"}\n{"text":"b"}]')).toMatch(/^b\.json: line 2: "\{" is where /);
    expect(await refusal("c.json", '[{"text":"a"},\n{"text":"b"')).toBe(
      "c.json: ends inside the object that begins at line 2; fetch it again",
    );
    expect(await refusal("d.json", '[{"text":"a"}')).toBe("d.json: ends inside its array; fetch it again");
    expect(await refusal("e.json", '[{"text":"a"}]\n{}')).toMatch(/line 2: .* is where the file should end, after/);
    expect(await refusal("f.json", '{\n"text": b\n}')).toMatch(/^f\.json: line 1 is not valid JSON: /);
    expect(await refusal("g.json", '[\n{"text":"a"},\n{"body":"b"}]')).toBe(
      'g.json: line 3 has no column "text"; available: body',
    );
  });
});

describe("text of another encoding", () => {
  const latin = Uint8Array.of(0x61, 0xe9, 0x62, 0x0a);
  const utf16 = Uint8Array.of(
    0xff,
    0xfe,
    ...new Uint8Array(Uint16Array.from("hello\n", (c) => c.charCodeAt(0)).buffer),
  );

  test("is refused with the byte where it begins, and what to do", async () => {
    expect(await refusal("latin.txt", latin)).toBe(
      "latin.txt: is not UTF-8 at byte 1 (0xe9); convert it, or give its encoding, e.g. --encoding windows-1252",
    );
    expect(await refusal("utf16.txt", utf16)).toBe(
      "utf16.txt: is not UTF-8: it begins with the byte order mark of UTF-16LE; convert it, or give its encoding, --encoding utf-16le",
    );
    expect(await refusal("big.txt", Uint8Array.of(0xfe, 0xff, 0, 0x61))).toMatch(/ --encoding utf-16be$/);
    const lines = Uint8Array.of(...new TextEncoder().encode('{"text":"é'), 0xe9, ...new TextEncoder().encode('"}\n'));
    expect(await refusal("latin.jsonl", lines)).toMatch(/^latin\.jsonl: is not UTF-8 at byte 11 \(0xe9\); /);
    expect(await refusal("latin.json", lines)).toMatch(/^latin\.json: is not UTF-8 at byte 11 \(0xe9\); /);
    expect(await refusal("latin.txt.gz", gzipSync(latin))).toMatch(/ at byte 1 \(0xe9\); /);
  });

  test("is refused wherever a character of it is cut, by chunks too", async () => {
    const good = new TextEncoder().encode("é".repeat(2 ** 19 + 10));
    for (const [bad, offset] of [
      [[0xe2, 0x82], 0],
      [[0xc3], 0],
      [[0x61, 0x80], 1],
      [[0xed, 0xa0, 0x80], 0],
      [[0xf5, 0x80, 0x80, 0x80], 0],
      [[0xc0, 0xaf], 0],
    ] as const) {
      for (const before of [0, 2 ** 20 - 2, 2 ** 20 - 1, 2 ** 20]) {
        const start = before - (before % 2);
        const bytes = Buffer.concat([good.subarray(0, start), Uint8Array.from(bad)]);
        expect(await refusal("cut.txt", bytes)).toMatch(new RegExp(`: is not UTF-8 at byte ${start + offset} `));
      }
    }
  });

  test("reads by its name", async () => {
    const read = async (name: string, content: Uint8Array, encoding: string) => {
      writeFileSync(folder(name), content);
      return (await Array.fromAsync(rowsOf(folder(name), "text", { encoding }))).flatMap(({ texts }) => texts);
    };
    expect(await read("latin.txt", latin, "windows-1252")).toEqual(["aéb\n"]);
    expect(await read("utf16.txt", utf16, "utf-16le")).toEqual(["hello\n"]);
    const lines = Buffer.from('\ufeff{"text":"é"}\n', "utf16le");
    expect(await read("utf16.jsonl", lines, "utf-16le")).toEqual(["é"]);
    await expect(read("latin.txt", latin, "utf-16be-le")).rejects.toThrow(
      'cannot be read as "utf-16be-le": unknown encoding; try utf-8, utf-16le, utf-16be or windows-1252',
    );
    await expect(read("odd.txt", Uint8Array.of(0x61, 0, 0, 0xd8), "utf-16le")).rejects.toThrow(
      /odd\.txt: is not utf-16le .*; give another --encoding$/,
    );
  });

  test("in a parquet file is refused with column, rows and byte; a mark of UTF-8 stays", async () => {
    const file = parquetFile([{ text: ["\ufeffone", "dXux", "trois"] }]);
    expect(await rowsIn("mark.parquet", file)).toEqual(["\ufeffone", "dXux", "trois"]);
    file[Buffer.from(file).indexOf("dXux") + 1] = 0xe9;
    expect(await refusal("latin.parquet", file)).toBe(
      'latin.parquet: column "text", rows 0 to 3: a text is not UTF-8 at byte 1 (0xe9); write the file again with valid UTF-8',
    );
  });
});

test("a file of another kind is refused by name", async () => {
  expect(() => rowsOf("table.csv", "text")).toThrow(
    "table.csv: has an unsupported format; expected .parquet, .jsonl, .ndjson, .json or .txt",
  );
});
