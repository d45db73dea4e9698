// The text of the quickstart: short stories about people who each have a town, a trade and things of their own. Made by a
// seed, of a hundred and forty words; what a model has to remember is who has what, and that takes weights.

import { seededUniform } from "../../workbench/engine/core/random.ts";

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

/** One story a line. @param seed of the stories; who has what is the same for every seed */
export function makeStories({ lines, seed }: { lines: number; seed: number }): string {
  const people = makePeople(pickFrom(0));
  const pick = pickFrom(seed);
  return Array.from({ length: lines }, () => story(pick(people), people, pick)).join("");
}

/** Every word and sign that a story can have, as a tokenizer sees them: with the space before it where there is one. */
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
