// The values of preprocessor_config.json, by key: checked as they are taken, and refused by name.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { Triple } from "../../architectures/parts/image-terms.ts";

type Fields = Readonly<Record<string, unknown>>;

/** null is as good as no value, as in transformers. */
export class ProcessorFields {
  private readonly json: Fields;
  private readonly file: string;

  /** @param file what errors call it */
  constructor(json: Fields, file: string) {
    this.json = json;
    this.file = file;
  }

  get keys(): string[] {
    return Object.keys(this.json);
  }

  value(key: string): unknown {
    return Object.hasOwn(this.json, key) ? (this.json[key] ?? undefined) : undefined;
  }

  /** @throws ModelError that names the key, its value, and what was expected */
  refuse(key: string, rule: string): never {
    const value = this.value(key);
    const is = value === undefined ? "is missing" : `is ${JSON.stringify(value).slice(0, 80)}`;
    throw new ModelError(`${key} ${is}: ${rule}`, { file: this.file });
  }

  flag(key: string, otherwise: boolean): boolean {
    const value = this.value(key) ?? otherwise;
    return typeof value === "boolean" ? value : this.refuse(key, "expected true or false");
  }

  /** Above 0. */
  number(key: string, otherwise: number): number {
    const value = this.value(key) ?? otherwise;
    const holds = typeof value === "number" && Number.isFinite(value) && value > 0;
    return holds ? value : this.refuse(key, "expected a number above 0");
  }

  /** Of red, green and blue; one number is of all three. */
  colors(key: string, otherwise: Triple, { positive = false } = {}): Triple {
    const value = this.value(key) ?? otherwise;
    const three: unknown = typeof value === "number" ? [value, value, value] : value;
    const isColor = (one: unknown) => Number.isFinite(one) && (!positive || (one as number) > 0);
    if (Array.isArray(three) && three.length === 3 && three.every(isColor)) return three as unknown as Triple;
    return this.refuse(key, `expected three numbers${positive ? " above 0" : ""}`);
  }

  /** Pixels of the side of a square: a number, both numbers in a list, or `height` and `width`. */
  square(key: string, otherwise: number): number {
    const value = this.value(key) ?? otherwise;
    const pair = Array.isArray(value) ? { height: value[0], width: value[1], more: value[2] } : value;
    const { height, width, ...more } = (typeof pair === "object" ? pair : { height: pair, width: pair }) as Fields;
    const [other] = Object.entries(more).find(([, one]) => one != null) ?? [];
    if (other !== undefined) this.refuse(key, `${other} is not done here; give height and width`);
    if (!isPixels(height) || !isPixels(width)) this.refuse(key, "expected whole numbers of pixels");
    return height === width ? height : this.refuse(key, "images are made square here; give one number for both");
  }

  /** `shortest_edge`, where the value has that and nothing else. */
  shortest(key: string): number | undefined {
    const value = this.value(key);
    if (typeof value !== "object" || Array.isArray(value)) return undefined;
    const { shortest_edge: side, ...more } = value as Fields;
    if (side == null) return undefined;
    const [other] = Object.entries(more).find(([, one]) => one != null) ?? [];
    if (other !== undefined) this.refuse(key, `${other} beside shortest_edge is not done here; leave it out`);
    return isPixels(side) ? side : this.refuse(key, "expected a whole number of pixels");
  }
}

const isPixels = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 0;
