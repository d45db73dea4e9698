// Opcodes of a pickle that push one value written in it: numbers, texts, bytes. Everything else is in pickle.ts.

import type { Fail } from "../files/byte-source.ts";
import type { PickleReader } from "./pickle-reader.ts";
import { integer, parseFloat64, parseInteger, parseQuoted, parseRawUnicode } from "./pickle-text.ts";
import type { PickleValue } from "./pickle-values.ts";

/** Bytes of one integer, over which no number of a checkpoint goes. */
const MAX_INTEGER_BYTES = 512;
const code = (character: string) => character.charCodeAt(0);

/** @returns undefined where the opcode is none of these */
export function literal(opcode: number, reader: PickleReader, fail: Fail): PickleValue | undefined {
  switch (opcode) {
    case code("N"):
      return null;
    case 0x88:
    case 0x89:
      return opcode === 0x88;
    case code("J"):
      return reader.int32();
    case code("K"):
      return reader.uint8();
    case code("M"):
      return reader.uint16();
    case code("G"):
      return reader.float64();
    case 0x8a:
      return long(reader, reader.uint8(), fail);
    case 0x8b:
      return long(reader, reader.uint32(), fail);
    case code("I"):
    case code("L"):
      return parsed(parseInteger(reader.line()), "integer", fail);
    case code("F"):
      return parsed(parseFloat64(reader.line()), "number", fail);
    case code("S"):
      return parsed(parseQuoted(reader.line()), "string", fail);
    case code("V"):
      return parseRawUnicode(reader.line());
    case code("T"):
      return reader.latin1(reader.uint32());
    case code("U"):
      return reader.latin1(reader.uint8());
    case code("X"):
      return reader.utf8(reader.uint32());
    case 0x8c:
      return reader.utf8(reader.uint8());
    case 0x8d:
      return reader.utf8(reader.uint64());
    case code("B"):
      return reader.bytes(reader.uint32());
    case code("C"):
      return reader.bytes(reader.uint8());
    case 0x8e:
    case 0x96:
      return reader.bytes(reader.uint64());
    default:
      return undefined;
  }
}

function long(reader: PickleReader, length: number, fail: Fail): PickleValue {
  if (length > MAX_INTEGER_BYTES) throw fail(`an integer of ${length} bytes`);
  return integer(reader.long(length));
}

function parsed(value: PickleValue | undefined, kind: string, fail: Fail): PickleValue {
  if (value === undefined) throw fail(`what should be a ${kind} is none`);
  return value;
}
