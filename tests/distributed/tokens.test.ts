// Texts that two and three processes tokenize together, compared with the file of one process byte by byte: in one cache
// folder or in several, and when a rank stops, is killed, cannot write, or has other text.

import { beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { buildState } from "../../native/build-state.ts";
import type { TextTokensOptions } from "../../workbench/data/types.ts";
import { setUp, TEXT, tokensOf } from "../data/text-set.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import type { Opened, TextStep, TokenizeAnswer, TokenizeTask } from "./tokenize-rank.ts";
import { workersOf } from "./workers.ts";

const state = buildState();
const PATIENCE = 120_000;
if (state.state !== "built") console.log("texts over ranks are not tested: the native engine is not built");

const folder = temporaryFolder();
const answers = workersOf("tokenize-rank.ts");

/** The folders of a test; the text has some batches of half a million characters. */
let large: TextTokensOptions;
let small: TextTokensOptions;
/** the files of one process */
let whole: { large: Buffer; small: Buffer };

/** Given workers, texts are dealt whatever their size. */
const DEALT = { workers: 0 };

const tokenized = (task: TokenizeTask, size: number, full?: number): Promise<TokenizeAnswer[]> =>
  answers(task, size, { full }) as Promise<TokenizeAnswer[]>;

/** A step whose ranks have caches of these names. */
const stepOf = (options: TextTokensOptions, caches: string[]): TextStep => ({
  options: caches.map((cache) => ({ ...options, cache: folder(cache) })),
});

const filesIn = (cache: string): string[] => readdirSync(folder(cache));
const bytesIn = (cache: string): Buffer => readFileSync(join(folder(cache), filesIn(cache)[0] as string));

describe.skipIf(state.state !== "built")("ranks that tokenize a text", () => {
  beforeAll(async () => {
    large = { ...setUp(folder("large"), TEXT.repeat(12)), ...DEALT };
    small = setUp(folder("small"), "the and the end\n");
    const [{ tokens: some }, { tokens: few }] = [await tokensOf(large), await tokensOf(small)];
    whole = { large: readFileSync(some.path), small: readFileSync(few.path) };
  });

  test(
    "write what one process writes, once in the folder that they share, whether it is dealt or small",
    async () => {
      const [dealt, alone] = [stepOf(large, ["a", "a"]), stepOf(small, ["b", "b"])];
      const stopped = { ...stepOf(large, ["c", "c"]), stopped: 1 };
      const other = stepOf(small, ["d", "d"]);
      const elsewhere = setUp(folder("elsewhere"), "the\n");
      other.options[1] = { ...elsewhere, tokenizer: small.tokenizer, cache: folder("d") };
      // What follows a failure shows that ranks still agree on what they exchange.
      const steps = [dealt, dealt, stopped, other, alone, alone];
      const rows = Array.from({ length: 10 }, (_, i) => "x".repeat(7 + (i % 3)));
      const [first, second] = (await tokenized({ steps, rows }, 2)) as [TokenizeAnswer, TokenizeAnswer];
      // The second time it is in the cache, and there is no progress.
      for (const rank of [first, second]) {
        const [made, again, , , few, fewAgain] = rank.steps as Opened[];
        expect([made?.cached, again?.cached, few?.cached, fewAgain?.cached]).toEqual([false, true, false, true]);
        expect([made?.last, again?.last]).toEqual([made?.length as number, 0]);
        expect(made?.length).toBeGreaterThan(1e5);
      }
      expect(first.steps[2]).toEqual({
        error: "StoppedError: rank 0 of 2 ends, because rank 1 was stopped",
      });
      expect(second.steps[2]).toEqual({ error: "Error: stopped" });
      expect(first.steps[3]).toEqual({
        error: expect.stringContaining(
          "rank 1 has other text, or another tokenizer, than rank 0; give all ranks the same",
        ),
      });
      expect(second.steps[3]).toEqual({
        error: expect.stringContaining("rank 0 has other text, or another tokenizer, than rank 1"),
      });
      expect([filesIn("a").length, filesIn("b").length, filesIn("c")]).toEqual([1, 1, []]);
      expect(bytesIn("a").equals(whole.large)).toBe(true);
      expect(bytesIn("b").equals(whole.small)).toBe(true);
      // four batches of three, three, three and one row
      expect([first.counted?.own, second.counted?.own]).toEqual([6, 4]);
      const lengths = [3, 24, 3, 24, 3, 24, 1, 7];
      expect([first.counted?.lengths, second.counted?.lengths]).toEqual([lengths, lengths]);
    },
    PATIENCE,
  );

  test(
    "have the whole file in each of several folders, and make it again where it is missing",
    async () => {
      const steps = [stepOf(large, ["e", "e", "f"]), stepOf(large, ["e", "e", "g"]), stepOf(small, ["h", "i", "i"])];
      const all = await tokenized({ steps }, 3);
      expect(all.map((rank) => rank.steps.map((step) => "cached" in step && step.cached))).toEqual([
        [false, true, false],
        [false, true, false],
        [false, false, false],
      ]);
      for (const [caches, bytes] of [[["e", "f", "g"], whole.large] as const, [["h", "i"], whole.small] as const]) {
        for (const cache of caches) {
          expect(filesIn(cache).length).toBe(1);
          expect(bytesIn(cache).equals(bytes)).toBe(true);
        }
      }
    },
    PATIENCE,
  );

  test(
    "leave nothing where one of them cannot write, and all say which",
    async () => {
      const [first, second] = (await tokenized({ steps: [stepOf(large, ["j", "k"])] }, 2, 1)) as [
        TokenizeAnswer,
        TokenizeAnswer,
      ];
      expect(second.steps[0]).toEqual({ error: expect.stringMatching(/^DataError: .*\.tokens: cannot be written: /) });
      expect(first.steps[0]).toEqual({
        error: expect.stringMatching(/^EngineError: rank 0 of 2 ends, because rank 1 has failed.*cannot be written/),
      });
      expect([filesIn("j"), filesIn("k")]).toEqual([[], []]);
    },
    PATIENCE,
  );

  test(
    "leave no file when one is killed, and the next run makes it",
    async () => {
      const step = { ...stepOf(large, ["l", "m"]), killed: 1 };
      const [first] = await tokenized({ steps: [step] }, 2);
      expect(first?.steps[0]).toEqual({
        error: expect.stringContaining("in tokenizing failed: another rank has ended"),
      });
      expect(filesIn("l")).toEqual([]);
      expect(filesIn("m").every((name) => name.endsWith(".tmp"))).toBe(true);
      const { tokens, cached } = await tokensOf({ ...large, cache: folder("m") });
      expect([cached, readFileSync(tokens.path).equals(whole.large)]).toEqual([false, true]);
      expect(basename(tokens.path)).not.toContain("tmp");
    },
    PATIENCE,
  );
});
