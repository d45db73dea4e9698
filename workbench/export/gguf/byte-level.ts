// Byte-level BPE, GPT-2's kind of tokenizer, in a GGUF file. llama.cpp knows the ways of splitting a text by name.

import { isUtf8 } from "node:buffer";
import { text, texts } from "../../../hub/gguf/entries.ts";
import { type NamedSplit, splitsNamed } from "../../../hub/gguf/splits.ts";
import { fromByteLevel } from "../../../hub/text/byte-level.ts";
import type { TokenizerDefinition } from "../../data/tokenizer/definition.ts";
import { openModel } from "../../data/tokenizer/model.ts";
import { openPreTokenizer } from "../../data/tokenizer/pre-tokenizers.ts";
import type { Kind } from "./tokenizer.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** @throws Error for a part that llama.cpp does not have */
export function byteLevelKind(definition: TokenizerDefinition, vocabulary: Vocabulary): Kind {
  expectPlain(definition);
  return {
    entries: {
      "tokenizer.ggml.model": text("gpt2"),
      "tokenizer.ggml.pre": text(splitOf(definition, vocabulary).name),
      "tokenizer.ggml.merges": texts(mergesOf(definition)),
    },
  };
}

function expectPlain({ normalizer, model }: TokenizerDefinition): void {
  // llama.cpp does not normalize. Qwen's NFC matters only for characters in decomposed form.
  if (normalizer !== null && normalizer.type !== "NFC") {
    throw new Error(`llama.cpp has no normalizer ${normalizer.type} for byte-level BPE`);
  }
  for (const affix of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    if (model[affix]) throw new Error(`llama.cpp has no ${affix}`);
  }
}

function splitOf(definition: TokenizerDefinition, { model }: Vocabulary): NamedSplit {
  const named = splitsNamed(definition.pre_tokenizer);
  const ignores = definition.model.ignore_merges === true;
  const same = named.find(({ ignoresMerges }) => ignoresMerges === ignores);
  if (same) return same;
  const [other] = named;
  if (!other) {
    throw new Error(
      "its pre_tokenizer is none that llama.cpp is known to have; use --to dense, and convert the result with llama.cpp",
    );
  }
  const unmerged = unmergedOf(definition, model);
  if (unmerged === undefined) return other;
  throw new Error(
    `ignore_merges is ${ignores}, which llama.cpp does not have with this pre_tokenizer, and no merges lead to ${JSON.stringify(unmerged)}`,
  );
}

/** A token that is a piece of a text and to which no merges lead, so that it matters whether merges are ignored. */
function unmergedOf(definition: TokenizerDefinition, model: ReadonlyMap<string, number>): string | undefined {
  const { encode } = openModel({ ...definition.model, ignore_merges: false });
  const { cut } = openPreTokenizer(definition.pre_tokenizer);
  const isPiece = (token: string) => {
    const bytes = fromByteLevel(token);
    return bytes !== undefined && isUtf8(bytes) && cut(new TextDecoder().decode(bytes), true).length === 1;
  };
  const special = new Set(definition.added_tokens.map(({ content }) => content));
  return [...model.keys()].find((token) => !special.has(token) && encode(token).length !== 1 && isPiece(token));
}

/** Merges as texts. A space in a part is written as the character that stands for it in the byte-level alphabet. */
function mergesOf({ model }: TokenizerDefinition): string[] {
  const merges = model.merges as readonly (string | readonly string[])[];
  return merges
    .filter((merge) => !(typeof merge === "string" && merge.startsWith("#version")))
    .map((merge) => (typeof merge === "string" ? merge : merge.map((part) => part.replaceAll(" ", "Ġ")).join(" ")));
}
