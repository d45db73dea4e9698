// Arrays and random number generators that NumPy pickled, such as class weights and the states of a trainer. They are
// recorded by type and shape, their values are not read.

import { Instance, itemsOf, type PickleValue, Tuple } from "./pickle-values.ts";

const ARRAY = "numpy.ndarray";

/** `_reconstruct(subtype, shape, type)`: an empty array, whose real shape and type come as its state. */
export const emptyArray = (): Instance => new Instance(ARRAY);

/** The array of `_frombuffer(bytes, dtype, shape, order)`, as protocol 5 has it. */
export function arrayOfBytes([, dtype, shape]: readonly PickleValue[]): Instance | undefined {
  if (dtype === undefined || shape === undefined) return undefined;
  const array = new Instance(ARRAY);
  array.state = new Tuple([1, shape, dtype]);
  return array;
}

const KINDS: Readonly<Record<string, string>> = { f: "float", i: "int", u: "uint", c: "complex" };
const OTHERS: Readonly<Record<string, string>> = {
  b: "bool",
  O: "object",
  S: "bytes",
  U: "str",
  M: "datetime64",
  m: "timedelta64",
  V: "void",
};

/** `<array float64 [3]>`. @returns undefined for a record of anything else */
export function describeArray({ className, state }: Instance): string | undefined {
  if (className !== ARRAY) return undefined;
  const [, shape, dtype] = itemsOf(state) ?? [];
  return `<array ${dtypeName(dtype)} [${(itemsOf(shape) ?? ["?"]).map(String).join(", ")}]>`;
}

/** NumPy's own name of `numpy.dtype("f8")`; the code itself where it is none of the usual. */
function dtypeName(dtype: PickleValue | undefined): string {
  const code = dtype instanceof Instance ? dtype.args[0] : undefined;
  if (typeof code !== "string") return "?";
  const [, kind = "", bytes = ""] = /^[<>=|]?([a-zA-Z])(\d*)$/.exec(code) ?? [];
  const sized = KINDS[kind];
  return (sized === undefined ? OTHERS[kind] : `${sized}${8 * Number(bytes)}`) ?? code;
}
