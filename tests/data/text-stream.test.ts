// The text of tokens that come one by one: stop strings end it wherever they are cut into tokens, and nothing of them
// is shown.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { textStream } from "../../workbench/data/text-stream.ts";

/** Tokens are the indices of these pieces. */
const decoder = (pieces: readonly string[], rest = "") => ({
  push: (id: number) => pieces[id] as string,
  end: () => rest,
});

/** What is shown of the pieces until the stream stops, and how many pieces were needed. */
function shown(pieces: readonly string[], stops: readonly string[], before = "") {
  const stream = textStream(decoder(pieces), { stops, before });
  const parts: string[] = [];
  for (let id = 0; id < pieces.length && !stream.stopped; id++) parts.push(stream.push(id));
  const count = parts.length;
  parts.push(stream.end());
  return { text: parts.join(""), count, stopped: stream.stopped, parts };
}

test("text before the first stop string is shown, however it is cut", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 30 });
  const stop = fc.string({ unit: fc.constantFrom("a", "b", "."), minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(text, { maxLength: 12 }), fc.array(stop, { maxLength: 3 }), (pieces, stops) => {
      const whole = pieces.join("");
      // The piece at which the first stop string ends stops the text; of those that it completes, the first one counts.
      const ends = stops
        .map((stop) => whole.indexOf(stop) + stop.length)
        .filter((_, i) => whole.includes(stops[i] as string));
      let [length, count] = [0, 0];
      for (const piece of pieces) {
        length += piece.length;
        count++;
        if (ends.some((end) => end <= length)) break;
      }
      const seen = whole.slice(0, length);
      const starts = stops.map((stop) => seen.indexOf(stop)).filter((start) => start >= 0);
      const found = shown(pieces, stops);
      expect(found.stopped).toBe(starts.length > 0);
      expect(found.text).toBe(starts.length > 0 ? seen.slice(0, Math.min(...starts)) : whole);
      expect(found.count).toBe(count);
    }),
  );
});

test("text that can be the start of a stop string is held back, and other text is not", () => {
  expect(shown(["one\n", "\n", "two"], ["\n\n\n"]).parts).toEqual(["one", "", "\n\ntwo", ""]);
  expect(shown(["a<", "|e", "nd|", ">b"], ["<|end|>"]).parts).toEqual(["a", "", "", "", ""]);
  expect(shown(["a<", "|e", "?"], ["<|end|>"]).parts).toEqual(["a", "", "<|e?", ""]);
  expect(shown(["a<"], ["<|end|>"]).parts).toEqual(["a", "<"]);
});

test("a stop string can begin in the prompt, but not end there", () => {
  expect(shown(["lo", "x"], ["Hello"], "Hel")).toMatchObject({ text: "", count: 1, stopped: true });
  expect(shown(["lo", "x"], ["Hel"], "Hel")).toMatchObject({ text: "lox", stopped: false });
});
