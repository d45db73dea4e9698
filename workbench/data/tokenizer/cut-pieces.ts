// How a byte-level tokenizer cuts a text into pieces that become ids by themselves: by GPT-2's expression, or by
// expressions of its own before it (`Split`), as later models have. Pieces are the text's own characters here; the
// library's come in the byte-level alphabet, which costs more than the cutting.

import { SplitPreTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import type { TokenizerDefinition } from "./definition.ts";
import { GPT2_PIECES } from "./white-space.ts";

export type Cut = (text: string) => readonly string[];

const ByteLevel = z.looseObject({
  type: z.literal("ByteLevel"),
  add_prefix_space: z.boolean().nullish(),
  use_regex: z.boolean().nullish(),
});
const Split = z.looseObject({ type: z.literal("Split"), pattern: z.object({ Regex: z.string() }) });
const Sequence = z.looseObject({ type: z.literal("Sequence"), pretokenizers: z.tuple([Split], z.unknown()) });

type SplitConfig = ConstructorParameters<typeof SplitPreTokenizer>[0];

/** @returns nothing where the text is cut in another way */
export function openCut(definition: TokenizerDefinition["pre_tokenizer"]): Cut | undefined {
  const alone = ByteLevel.safeParse(definition).data;
  if (alone) return byteLevelCut(alone);
  const [first, second, ...more] = Sequence.safeParse(definition).data?.pretokenizers ?? [];
  const last = ByteLevel.safeParse(second).data;
  // A space would be put before each piece.
  if (!first || !last || last.add_prefix_space || more.length > 0) return undefined;
  const split = new SplitPreTokenizer(first as unknown as SplitConfig);
  const cut = byteLevelCut(last);
  return (text) => {
    const pieces = split.pre_tokenize_text(text);
    return (last.use_regex ?? true) ? pieces.flatMap(cut) : pieces;
  };
}

function byteLevelCut({ add_prefix_space: prefix, use_regex: regex }: z.infer<typeof ByteLevel>): Cut {
  return (text) => {
    const whole = prefix && !text.startsWith(" ") ? ` ${text}` : text;
    return (regex ?? true) ? (whole.match(GPT2_PIECES) ?? []) : [whole];
  };
}
