// Writes the two repositories of the quickstart: a data set of generated stories about people, each with a town, a
// trade and a thing, and a GPT-2 with random weights whose tokenizer has one token per word.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { seededUniform } from "../../workbench/engine/core/random.ts";
import { createModel, gpt2, saveModelNow } from "../../workbench/models/index.ts";

export const STORIES = "quickstart/stories";
export const UNTRAINED = "quickstart/untrained";

const LINES = { train: 6000, validation: 200, test: 400 };
/** Sizes of the model, which has about 200 thousand parameters. */
const SIZE = { n_layer: 3, n_embd: 64, n_head: 4, n_positions: 64 };

/** Writes both repositories. An engine must be open. @param hub folder of the Hub */
export async function makeRepositories(hub: string, seed: number): Promise<void> {
  const dataset = join(hub, "datasets", STORIES);
  await mkdir(dataset, { recursive: true });
  const texts = Object.entries(LINES).map(([split, lines], i) => ({
    split,
    text: makeStories({ lines, seed: seed + i }),
  }));
  for (const { split, text } of texts) await writeFile(join(dataset, `${split}.txt`), text);
  await writeFile(join(dataset, "README.md"), "---\nlicense: cc0-1.0\nlanguage: en\n---\nMade up stories.\n");
  const folder = join(hub, "models", UNTRAINED);
  const words = wordsOf(texts.map(({ text }) => text).join(""));
  const vocabulary = await writeTokenizer(folder, words);
  const model = createModel(gpt2, { ...SIZE, vocab_size: vocabulary, ...NO_DROPOUT }, { seed });
  await saveModelNow(model, folder);
  await writeFile(join(folder, "README.md"), "---\nlicense: cc0-1.0\nlanguage: en\n---\nKnows nothing yet.\n");
  model.dispose();
}

/** Dropout is not needed, because the model is too small to overfit the text. */
const NO_DROPOUT = { embd_pdrop: 0, resid_pdrop: 0, attn_pdrop: 0 };

const NAMES =
  "Ada Ben Cleo Dan Edda Finn Gwen Hugo Ines Jon Kaya Leo Mara Nils Olga Per Rosa Sven Tilda Udo Vera Wim Yara Zoe".split(
    " ",
  );
const SURNAMES = "Berg Costa".split(" ");
const TOWNS = "Bergen Cadiz Delft Essen Fano Ghent Hilo Izmir Jena Kiel Lund Mons".split(" ");
const TRADES = "baker carpenter doctor farmer gardener juggler mason painter sailor tailor weaver miller".split(" ");
const COLORS = "amber black copper green ivory purple silver yellow".split(" ");
const THINGS = "boat cart drum flute kettle lamp mill oven rope saddle table violin".split(" ");
const DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(" ");
const MOODS = "glad tired proud late hungry quiet".split(" ");

interface Person {
  name: string;
  she: boolean;
  town: string;
  trade: string;
  color: string;
  thing: string;
  friend: string;
  day: string;
}

type Pick = <Item>(items: readonly Item[]) => Item;

/**
 * Generates stories, one per line.
 * @param seed seed of the stories; the facts about people are the same for all seeds
 */
export function makeStories({ lines, seed }: { lines: number; seed: number }): string {
  const people = makePeople(pickFrom(0));
  const pick = pickFrom(seed);
  return Array.from({ length: lines }, () => story(pick(people), people, pick)).join("");
}

/** The distinct words and punctuation marks of a text, each with the space before it, as the tokenizer splits them. */
export function wordsOf(text: string): string[] {
  return [...new Set(text.match(/ ?[\p{L}]+| ?[^\s\p{L}]+|\n/gu) ?? [])].sort();
}

function pickFrom(seed: number): Pick {
  const uniform = seededUniform(seed);
  return (items) => items[Math.floor(uniform() * items.length)] as (typeof items)[number];
}

function makePeople(pick: Pick): Person[] {
  const names = NAMES.flatMap((first) => SURNAMES.map((last) => `${first} ${last}`));
  return names.map((name, i) => ({
    name,
    she: Math.floor(i / SURNAMES.length) % 2 === 0,
    town: pick(TOWNS),
    trade: pick(TRADES),
    color: pick(COLORS),
    thing: pick(THINGS),
    friend: pick(names.filter((other) => other !== name)),
    day: pick(DAYS),
  }));
}

function story(person: Person, people: readonly Person[], pick: Pick): string {
  const [He, his] = person.she ? ["She", "her"] : ["He", "his"];
  const friend = people.find(({ name }) => name === person.friend) as Person;
  const sentences = [
    `${He} is a ${person.trade} in ${person.town} .`,
    `${He} has a ${person.color} ${person.thing} .`,
    `On ${person.day} ${person.name} meets ${friend.name} , the ${friend.trade} from ${friend.town} .`,
    `${friend.name} wants to buy ${his} ${person.thing} , but ${person.name} keeps it .`,
    `${person.name} gives ${his} ${person.thing} to ${friend.name} for a ${friend.color} ${friend.thing} .`,
    `In ${person.town} it is ${pick(DAYS)} and ${person.name} is ${pick(MOODS)} .`,
  ];
  const told = sentences.filter(() => pick([true, true, false]));
  return `${person.name} lives in ${person.town} . ${told.join(" ")}\n`;
}

const END = "<|endoftext|>";

/** Writes tokenizer.json and tokenizer_config.json. @returns size of the vocabulary */
export async function writeTokenizer(folder: string, words: readonly string[]): Promise<number> {
  const vocabulary = new Map<string, number>();
  const add = (piece: string) => vocabulary.has(piece) || vocabulary.set(piece, vocabulary.size);
  add(END);
  for (const byte of BYTES) add(byte);
  const merges: [string, string][] = [];
  for (const word of words) {
    const letters = Array.from(new TextEncoder().encode(word), (byte) => BYTES[byte] as string);
    for (let length = 2; length <= letters.length; length++) {
      const [left, right] = [letters.slice(0, length - 1).join(""), letters[length - 1] as string];
      if (!vocabulary.has(left + right)) merges.push([left, right]);
      add(left + right);
    }
  }
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(description(vocabulary, merges)));
  const settings = { tokenizer_class: "GPT2Tokenizer", eos_token: END, bos_token: END, unk_token: END };
  await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(settings));
  return vocabulary.size;
}

function description(vocabulary: ReadonlyMap<string, number>, merges: readonly [string, string][]): object {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: "1.0",
    added_tokens: [{ id: 0, content: END, ...flags }],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      vocab: Object.fromEntries(vocabulary),
      merges: merges.map((pair) => pair.join(" ")),
    },
  };
}

/**
 * The character for each byte in GPT-2's tokenizer (Radford et al. 2019): the byte itself if it is visible, else a
 * character from code point 256 on.
 */
const BYTES: readonly string[] = (() => {
  const visible = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte < 173) || byte > 173;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(visible(byte) ? byte : next++));
})();
