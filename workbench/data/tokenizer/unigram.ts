// The unigram language model (Kudo 2018): a piece is split into the tokens whose scores have the largest sum.

import { z } from "zod";
import type { Model } from "./model.ts";
import { NO_PAIR, PairTable } from "./pair-table.ts";
import { type Part, readPart } from "./read-part.ts";
import { byteIds } from "./vocabulary.ts";

const Fields = z.object({
  vocab: z.array(z.tuple([z.string(), z.number()])).min(1),
  unk_id: z.int().min(0).nullish(),
  byte_fallback: z.boolean().nullish(),
});

/** How much an unknown character scores below the lowest token. */
const UNKNOWN_PENALTY = 10;

/** Opens a Unigram model. @throws Error if it is damaged */
export function openUnigram(part: Part): Model {
  const { vocab, unk_id: unknown, byte_fallback: fallback } = readPart(Fields, part, "model Unigram");
  if (typeof unknown === "number" && unknown >= vocab.length) throw new Error("model Unigram: unk_id: not an id");
  const vocabulary = new Map(vocab.map(([token], id) => [token, id]));
  const scores = Float64Array.from(vocab, ([, score]) => score);
  const trie = new Trie(vocabulary);
  const unknownScore = scores.reduce((least, score) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY;
  const unknownId = () => {
    if (typeof unknown === "number") return unknown;
    throw new Error("no id, and the vocabulary has no unknown token");
  };
  return {
    vocabulary,
    list: vocab.map(([token]) => token),
    encode: (piece) => {
      const path = bestPath(piece, { trie, scores, unknownScore, unknownId });
      return joinedUnknown(path, unknown ?? undefined).flatMap(
        ({ text }) => vocabulary.get(text) ?? (fallback ? byteIds(vocabulary, text) : undefined) ?? unknownId(),
      );
    },
  };
}

interface Piece {
  id: number;
  text: string;
}

/** Viterbi search. Of two paths with equal scores the one found first wins: that with the earlier last token. */
function bestPath(
  text: string,
  model: { trie: Trie; scores: Float64Array; unknownScore: number; unknownId: () => number },
): Piece[] {
  const { trie, scores, unknownScore, unknownId } = model;
  const best = new Float64Array(text.length + 1);
  const from = new Int32Array(text.length + 1).fill(-1);
  const ids = new Int32Array(text.length + 1);
  const offer = (end: number, start: number, score: number, id: number) => {
    if ((from[end] as number) >= 0 && score <= (best[end] as number)) return;
    best[end] = score;
    from[end] = start;
    ids[end] = id;
  };
  for (let start = 0; start < text.length; ) {
    const length = (text.codePointAt(start) as number) > 0xffff ? 2 : 1;
    const before = best[start] as number;
    let single = false;
    let node = 0;
    for (let end = start; end < text.length; ) {
      node = trie.child(node, text.charCodeAt(end++));
      if (node === NO_PAIR) break;
      const id = trie.idAt(node);
      if (id < 0) continue;
      offer(end, start, (scores[id] as number) + before, id);
      if (end - start === length) single = true;
    }
    if (!single) offer(start + length, start, unknownScore + before, unknownId());
    start += length;
  }
  const path: Piece[] = [];
  for (let end = text.length; end > 0; ) {
    const start = from[end] as number;
    path.push({ id: ids[end] as number, text: text.slice(start, end) });
    end = start;
  }
  return path.reverse();
}

/** Joins unknown pieces that follow each other. */
function joinedUnknown(path: readonly Piece[], unknown: number | undefined): Piece[] {
  const joined: Piece[] = [];
  let after = false;
  for (const piece of path) {
    const last = joined.at(-1);
    if (last && after && piece.id === unknown) last.text += piece.text;
    else joined.push(piece);
    after = piece.id === unknown;
  }
  return joined;
}

/** A trie of tokens by UTF-16 units. */
class Trie {
  readonly #children: PairTable;
  readonly #ids: Int32Array;

  constructor(vocabulary: ReadonlyMap<string, number>) {
    let units = 1;
    for (const token of vocabulary.keys()) units += token.length;
    this.#children = new PairTable(units);
    this.#ids = new Int32Array(units).fill(-1);
    let nodes = 1;
    for (const [token, id] of vocabulary) {
      let node = 0;
      for (let i = 0; i < token.length; i++) {
        const unit = token.charCodeAt(i);
        const child = this.#children.get(node, unit);
        if (child === NO_PAIR) this.#children.set(node, unit, nodes);
        node = child === NO_PAIR ? nodes++ : child;
      }
      if (node > 0) this.#ids[node] = id;
    }
  }

  /** the child of a node, or NO_PAIR. The root is node 0 */
  child(node: number, unit: number): number {
    return this.#children.get(node, unit);
  }

  /** the id of the token that ends at a node, or -1 */
  idAt(node: number): number {
    return this.#ids[node] as number;
  }
}
