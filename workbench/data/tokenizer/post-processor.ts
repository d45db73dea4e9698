// Post-processors: the special tokens that a tokenizer puts around a text, such as Llama's beginning of text.

import { z } from "zod";
import { AnyPart, type OpenPart, type Part, partOpener, readPart } from "./read-part.ts";

/** What the ids of a text become: ids of special tokens, and `undefined` where the ids of the text are. */
export type Template = readonly (number | undefined)[];

/** The templates with and without special tokens. */
export interface Templates {
  special: Template;
  plain: Template;
}

const NOTHING: Templates = { special: [undefined], plain: [undefined] };

const Token = z.tuple([z.string(), z.int().min(0)]);

const open: OpenPart<Templates> = partOpener<Templates>("post_processor", {
  ByteLevel: () => NOTHING,
  BertProcessing: (part) => around(part),
  RobertaProcessing: (part) => around(part),
  TemplateProcessing: openTemplate,
  Sequence: (part, depth) => {
    const { processors } = readPart(z.object({ processors: z.array(AnyPart) }), part, "post_processor Sequence");
    const opened = processors.map((inner) => open(inner, depth + 1)).filter((templates) => templates !== NOTHING);
    if (opened.length > 1) throw new Error("a post_processor Sequence with two templates is not supported");
    return opened[0] ?? NOTHING;
  },
});

/** Opens the post-processor of a tokenizer.json. @throws Error if it is not supported or damaged */
export function openPostProcessor(part: Part | null): Templates {
  return part === null ? NOTHING : open(part, 0);
}

/** One token before and one after the text. */
function around(part: Part): Templates {
  const { cls, sep } = readPart(z.object({ cls: Token, sep: Token }), part, `post_processor ${part.type}`);
  return { special: [cls[1], undefined, sep[1]], plain: [undefined] };
}

function openTemplate(part: Part): Templates {
  const name = "post_processor TemplateProcessing";
  const fields = z.object({
    single: z.array(
      z.union([
        z.object({ SpecialToken: z.object({ id: z.string() }) }),
        z.object({ Sequence: z.object({ id: z.enum(["A", "B"]) }) }),
      ]),
    ),
    special_tokens: z.record(z.string(), z.object({ ids: z.array(z.int().min(0)) })),
  });
  const { single, special_tokens: tokens } = readPart(fields, part, name);
  const special = single.flatMap((item): (number | undefined)[] => {
    if ("Sequence" in item) {
      if (item.Sequence.id === "A") return [undefined];
      throw new Error(`${name}: single: has a second text`);
    }
    const { id } = item.SpecialToken;
    const token = Object.hasOwn(tokens, id) ? tokens[id] : undefined;
    if (!token) throw new Error(`${name}: special_tokens: has no ${JSON.stringify(id)}`);
    return token.ids;
  });
  return { special, plain: special.filter((id) => id === undefined) };
}
