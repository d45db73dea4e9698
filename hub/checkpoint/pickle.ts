// A pickle machine for protocols 0 to 5 (Python's pickletools.py documents the opcodes): a stack, a memo and a loop
// over opcodes, without recursion. It creates plain data and records. It never imports or runs Python code; globals.ts
// decides which names may be used and called.

import type { Fail } from "../files/byte-source.ts";
import { call, doubtfulRecord, expectModule, global } from "./globals.ts";
import { code, literal, PickleReader } from "./pickle-reader.ts";
import { Dict, Instance, type PickleValue, SetOf, TensorView, Tuple } from "./pickle-values.ts";

/** Longest pickle, in bytes, that is read. A tensor's description takes a few hundred bytes. */
export const MAX_PICKLE_BYTES = 2 ** 26;

/**
 * Largest number of opcodes that are run. The limit bounds memory: one byte can create a value of fifty bytes. A tensor
 * takes about thirty opcodes.
 */
const MAX_OPCODES = 2 ** 23;

/** Where a pickle starts, and how errors and persistent ids are handled. */
export interface PickleOptions {
  /** position of the pickle's first byte */
  start?: number;
  fail: Fail;
  /** resolves a persistent id; in a checkpoint, to a storage */
  persistent?: (id: PickleValue) => PickleValue;
}

/** The value of a pickle. */
export interface Unpickled {
  value: PickleValue;
  /** end of the pickle, exclusive */
  end: number;
}

/**
 * Reads one pickle.
 * @throws EndOfPickle when the bytes end inside the pickle; the error made by `fail` when the pickle is damaged, or
 * uses a global that is not allowed
 */
export function unpickle(bytes: Uint8Array, { start = 0, fail, persistent }: PickleOptions): Unpickled {
  const reader = new PickleReader(bytes, start);
  const machine = new Machine(reader, { fail, persistent });
  for (let steps = 1; machine.step(reader.uint8()); steps++) {
    if (steps > MAX_OPCODES) throw fail(`the pickle has more than ${MAX_OPCODES} opcodes`);
  }
  return { value: machine.result(), end: reader.position };
}

const NEWEST_PROTOCOL = 5;

class Machine {
  readonly #reader: PickleReader;
  readonly #fail: Fail;
  readonly #persistent: ((id: PickleValue) => PickleValue) | undefined;
  #stack: PickleValue[] = [];
  /** the stacks below the marks */
  readonly #marks: PickleValue[][] = [];
  readonly #memo = new Map<number, PickleValue>();
  /** records that must still receive the state of a module: see expectModule */
  readonly #doubtful: Instance[] = [];

  constructor(reader: PickleReader, { fail, persistent }: Pick<PickleOptions, "fail" | "persistent">) {
    this.#reader = reader;
    this.#fail = (problem, options) => fail(`pickle: ${problem}`, options);
    this.#persistent = persistent;
  }

  result(): PickleValue {
    for (const record of this.#doubtful) expectModule(record, this.#fail);
    return this.#pop();
  }

  /**
   * Runs one opcode.
   * @returns false after the last one
   */
  step(opcode: number): boolean {
    if (opcode === code(".")) return false;
    if (!this.#scalar(opcode) && !this.#container(opcode) && !this.#memory(opcode) && !this.#object(opcode)) {
      throw this.#fail(`unknown opcode 0x${opcode.toString(16).padStart(2, "0")} at byte ${this.#reader.position - 1}`);
    }
    return true;
  }

  /** Opcodes that push one literal value. */
  #scalar(opcode: number): boolean {
    const value = literal(opcode, this.#reader, this.#fail);
    if (value !== undefined) this.#push(value);
    return value !== undefined;
  }

  /** Opcodes that create and fill lists, tuples, dictionaries and sets. */
  #container(opcode: number): boolean {
    switch (opcode) {
      case code("]"):
        this.#push([]);
        return true;
      case code("l"):
        this.#push(this.#popMark());
        return true;
      case code("a"):
        this.#append([this.#pop()]);
        return true;
      case code("e"):
      case 0x90:
        this.#append(this.#popMark());
        return true;
      case code(")"):
        this.#push(new Tuple([]));
        return true;
      case code("t"):
        this.#push(new Tuple(this.#popMark()));
        return true;
      case 0x85:
      case 0x86:
      case 0x87:
        this.#push(new Tuple(this.#popMany(opcode - 0x84)));
        return true;
      case code("}"):
        this.#push(new Dict());
        return true;
      case code("d"): {
        const items = this.#popMark();
        this.#push(new Dict());
        this.#setItems(items);
        return true;
      }
      case code("s"):
        this.#setItems(this.#popMany(2));
        return true;
      case code("u"):
        this.#setItems(this.#popMark());
        return true;
      case 0x8f:
        this.#push(new SetOf());
        return true;
      case 0x91:
        this.#push(new SetOf(this.#popMark()));
        return true;
      default:
        return false;
    }
  }

  /** Opcodes of the stack, the memo and framing. */
  #memory(opcode: number): boolean {
    const reader = this.#reader;
    switch (opcode) {
      case 0x80: {
        const protocol = reader.uint8();
        if (protocol > NEWEST_PROTOCOL) throw this.#fail(`protocol ${protocol} is newer than ${NEWEST_PROTOCOL}`);
        return true;
      }
      case 0x95:
        reader.uint64(); // length of a frame; only useful for reading ahead
        return true;
      case code("("):
        this.#marks.push(this.#stack);
        this.#stack = [];
        return true;
      case code("0"):
        if (this.#stack.length > 0) this.#stack.pop();
        else this.#popMark();
        return true;
      case code("1"):
        this.#popMark();
        return true;
      case code("2"):
        this.#push(this.#top());
        return true;
      case code("p"):
        this.#memo.set(Number(reader.line()), this.#top());
        return true;
      case code("q"):
        this.#memo.set(reader.uint8(), this.#top());
        return true;
      case code("r"):
        this.#memo.set(reader.uint32(), this.#top());
        return true;
      case 0x94:
        this.#memo.set(this.#memo.size, this.#top());
        return true;
      case code("g"):
        this.#push(this.#recall(Number(reader.line())));
        return true;
      case code("h"):
        this.#push(this.#recall(reader.uint8()));
        return true;
      case code("j"):
        this.#push(this.#recall(reader.uint32()));
        return true;
      default:
        return false;
    }
  }

  /** Opcodes of globals, calls and objects. */
  #object(opcode: number): boolean {
    switch (opcode) {
      case code("c"):
        this.#push(global(this.#reader.line(), this.#reader.line(), this.#fail));
        return true;
      case 0x93: {
        const [module, name] = this.#popMany(2);
        this.#push(global(module, name, this.#fail));
        return true;
      }
      case code("R"): {
        const [callee, args] = this.#popMany(2);
        this.#push(call(callee, args, this.#fail));
        return true;
      }
      case code("i"): {
        const type = global(this.#reader.line(), this.#reader.line(), this.#fail);
        this.#push(call(type, new Tuple(this.#popMark()), this.#fail));
        return true;
      }
      case code("o"): {
        const [type, ...args] = this.#popMark();
        this.#push(call(type, new Tuple(args), this.#fail));
        return true;
      }
      case 0x81: {
        const [type, args] = this.#popMany(2);
        this.#push(this.#create(type, args));
        return true;
      }
      case 0x92: {
        const [type, args, keywords] = this.#popMany(3);
        const made = this.#create(type, args);
        if (made instanceof Instance && keywords instanceof Dict) copyEntries(keywords, made);
        this.#push(made);
        return true;
      }
      case code("b"): {
        const state = this.#pop();
        this.#build(this.#top(), state);
        return true;
      }
      case code("P"):
        this.#push(this.#resolve(this.#reader.line()));
        return true;
      case code("Q"):
        this.#push(this.#resolve(this.#pop()));
        return true;
      default:
        return false;
    }
  }

  #create(type: PickleValue | undefined, args: PickleValue | undefined): PickleValue {
    const record = doubtfulRecord(type, args);
    if (record) this.#doubtful.push(record);
    return record ?? call(type, args, this.#fail);
  }

  #build(target: PickleValue, state: PickleValue): void {
    if (target instanceof Instance) target.state = state;
    // Attributes of dictionaries (such as an OrderedDict's _metadata) and of tensors are ignored.
    else if (!(target instanceof Dict || target instanceof TensorView)) throw this.#fail("gives a state to plain data");
  }

  #append(items: readonly PickleValue[]): void {
    const target = this.#top();
    if (!(Array.isArray(target) || target instanceof SetOf || target instanceof Instance)) {
      throw this.#fail("appends to something that is not a list");
    }
    const list = Array.isArray(target) ? target : target.items;
    for (const item of items) list.push(item);
  }

  #setItems(items: readonly PickleValue[]): void {
    const target = this.#top();
    if (!(target instanceof Dict || target instanceof Instance))
      throw this.#fail("sets items of something that is not a dictionary");
    if (items.length % 2 !== 0) throw this.#fail("sets a key without a value");
    for (let i = 0; i < items.length; i += 2) {
      target.entries.set(items[i] as PickleValue, items[i + 1] as PickleValue);
    }
  }

  #resolve(id: PickleValue): PickleValue {
    if (!this.#persistent) throw this.#fail("has a persistent id where none is allowed");
    return this.#persistent(id);
  }

  #recall(index: number): PickleValue {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.#fail(`recalls memo ${index}, which was never set`);
    return value;
  }

  #push(value: PickleValue): void {
    this.#stack.push(value);
  }

  #top(): PickleValue {
    const value = this.#stack.at(-1);
    if (value === undefined) throw this.#fail("takes from an empty stack");
    return value;
  }

  #pop(): PickleValue {
    const value = this.#top();
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): PickleValue[] {
    if (this.#stack.length < count) throw this.#fail("takes from an empty stack");
    return this.#stack.splice(-count);
  }

  #popMark(): PickleValue[] {
    const below = this.#marks.pop();
    if (!below) throw this.#fail("returns to a mark that was never set");
    const items = this.#stack;
    this.#stack = below;
    return items;
  }
}

function copyEntries(from: Dict, to: Instance): void {
  for (const [key, value] of from.entries) to.entries.set(key, value);
}
