// Which Python globals a pickle may name and call, and what each call returns here. The rules:
// - Calls of the globals listed in CALLS are replaced by functions in this file, which return tensors and plain data.
// - Classes of other libraries may be named. Their objects become records (Instance) and are never created.
// - Every other name of Python's standard library is refused, and so is every call of a function that is not listed.

import type { Fail } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { bitsOf, type FileDtype } from "../safetensors/types.ts";
import {
  arrayOfBytes,
  Dict,
  type ElementType,
  emptyArray,
  Global,
  Instance,
  isModuleState,
  itemsOf,
  numpyScalar,
  type PickleValue,
  SetOf,
  StorageView,
  TensorView,
  Tuple,
} from "./pickle-values.ts";

/** Returns undefined for arguments that the global does not accept. */
type Call = (args: readonly PickleValue[]) => PickleValue | undefined;

/** The result of calling each listed global: a record, a tensor or plain data. */
const CALLS: Readonly<Record<string, Call>> = {
  "collections.OrderedDict": ([pairs]) => dictOf(pairs),
  "collections.defaultdict": ([, pairs]) => dictOf(pairs),
  "builtins.dict": ([pairs]) => dictOf(pairs),
  "builtins.list": ([items]) => (items === undefined ? [] : itemsOf(items)?.slice()),
  "builtins.tuple": ([items]) => tupleOf(items),
  "builtins.set": ([items]) => setOf(items),
  "builtins.frozenset": ([items]) => setOf(items),
  "builtins.bytearray": ([bytes]) => (bytes instanceof Uint8Array ? bytes : undefined),
  // Protocol 2 has no type for bytes and writes them as text to be encoded.
  "_codecs.encode": ([text, encoding]) => (encoding === "latin1" ? latin1(text) : undefined),
  "copyreg._reconstructor": ([type]) => (type instanceof Global ? new Instance(type.path) : undefined),
  "torch.Size": ([items]) => tupleOf(items),
  "torch.device": ([type, index]) => deviceOf(type, index),
  "torch._utils._rebuild_tensor": ([storage, offset, shape, strides]) => tensorOf(storage, { offset, shape, strides }),
  "torch._utils._rebuild_tensor_v2": ([storage, offset, shape, strides]) =>
    tensorOf(storage, { offset, shape, strides }),
  "torch._utils._rebuild_tensor_v3": ([storage, offset, shape, strides, , , dtype]) =>
    tensorOf(storage, { offset, shape, strides, dtype }),
  "torch._utils._rebuild_parameter": ([tensor]) => onlyTensor(tensor),
  "torch._utils._rebuild_parameter_with_state": ([tensor]) => onlyTensor(tensor),
  "torch._tensor._rebuild_from_type_v2": ([rebuild, , args]) =>
    rebuild instanceof Global && REBUILD.test(rebuild.path) ? CALLS[rebuild.path]?.(itemsOf(args) ?? []) : undefined,
  // Returns the name of a method, since methods can be attributes of a module. The first argument must be a record: the
  // attributes of a global would give access to code.
  "builtins.getattr": ([of, name]) =>
    of instanceof Instance && typeof name === "string" ? `${of.className}.${name}` : undefined,
  ...bothNames("multiarray.scalar", numpyScalar),
  ...bothNames("multiarray._reconstruct", emptyArray),
  ...bothNames("numeric._frombuffer", arrayOfBytes),
  "numpy.ma.core._mareconstruct": emptyArray, // its state starts like that of an array
  "numpy.dtype": ([name]) => (typeof name === "string" ? new Instance("numpy.dtype", [name]) : undefined),
  "numpy.random._pickle.__randomstate_ctor": (args) => new Instance("numpy.random.RandomState", args),
  "numpy.random._pickle.__generator_ctor": (args) => new Instance("numpy.random.Generator", args),
  "numpy.random._pickle.__bit_generator_ctor": (args) => new Instance("numpy.random.BitGenerator", args),
  "numpy.random.bit_generator.__pyx_unpickle_SeedSequence": (args) => new Instance("numpy.random.SeedSequence", args),
};

/** The module is `numpy.core` before NumPy 2 and `numpy._core` since. */
function bothNames(name: string, call: Call): Record<string, Call> {
  return { [`numpy.core.${name}`]: call, [`numpy._core.${name}`]: call };
}

/**
 * Globals that are listed for one kind of argument. With any other argument they are refused like globals that are
 * not listed.
 */
const RESTRICTED = new Set(["builtins.getattr"]);

/**
 * Functions that may rebuild a tensor with attributes. _rebuild_from_type_v2 is not among them, because it could nest
 * itself without limit.
 */
const REBUILD = /^torch\._utils\./;

/** Names of the standard library that stand for data: types, and classes whose objects become records. */
const DATA_NAMES = new Set([
  ..."bool bytes complex dict float frozenset int list long object set slice str tuple type unicode range bytearray"
    .split(" ")
    .map((name) => `builtins.${name}`),
  ..."argparse.Namespace types.SimpleNamespace collections.Counter collections.deque functools.partial".split(" "),
  ..."datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone".split(" "),
  ..."decimal.Decimal fractions.Fraction uuid.UUID".split(" "),
  ..."pathlib.Path pathlib.PosixPath pathlib.WindowsPath pathlib.PurePosixPath pathlib.PureWindowsPath".split(" "),
]);

const PYTHON_2_MODULES: ReadonlyMap<string, string> = new Map([
  ["__builtin__", "builtins"],
  ["copy_reg", "copyreg"],
]);

/** Looks a name up. Undefined if a checkpoint must not name it. */
function findGlobal(module: string, name: string): Global | undefined {
  const home = PYTHON_2_MODULES.get(module) ?? module;
  const path = `${home}.${name}`;
  if (isListed(path) || DATA_NAMES.has(path) || home === "typing") return new Global(path);
  return isStandardLibrary(home) ? undefined : new Global(path);
}

/** Whether CALLS has the name. */
function isListed(path: string): boolean {
  return Object.hasOwn(CALLS, path);
}

/**
 * Whether objects of this name become records. By Python's convention class names start with a capital letter and
 * function names do not.
 */
function isClass(path: string): boolean {
  const name = path.slice(path.lastIndexOf(".") + 1);
  return DATA_NAMES.has(path) || (!isStandardLibrary(path) && /^_*\p{Lu}/u.test(name));
}

const STORAGES: Readonly<Record<string, FileDtype>> = {
  DoubleStorage: "F64",
  FloatStorage: "F32",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
  ComplexFloatStorage: "C64",
};

const TORCH_DTYPES: Readonly<Record<string, FileDtype>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
  complex64: "C64",
  uint64: "U64",
  uint32: "U32",
  uint16: "U16",
  float8_e4m3fn: "F8_E4M3",
  float8_e4m3fnuz: "F8_E4M3FNUZ",
  float8_e5m2: "F8_E5M2",
  float8_e5m2fnuz: "F8_E5M2FNUZ",
  float8_e8m0fnu: "F8_E8M0",
};

/** The element type of a storage class, such as `torch.FloatStorage` or `torch.cuda.HalfStorage`. */
export function storageElement({ path }: Global): ElementType {
  const name = path.slice(path.lastIndexOf(".") + 1);
  if (/^_?UntypedStorage$/.test(name)) return undefined;
  const dtype = path.startsWith("torch.") && Object.hasOwn(STORAGES, name) ? STORAGES[name] : undefined;
  return dtype === undefined ? { unsupported: path } : { dtype };
}

/** Bytes of one element. Untyped storages count bytes. Undefined for types that are not supported. */
export function elementBytes(element: ElementType): number | undefined {
  if (element === undefined) return 1;
  return "dtype" in element ? bitsOf(element.dtype) / 8 : undefined;
}

function dtypeElement({ path }: Global): ElementType {
  const name = path.replace(/^torch\./, "");
  const dtype = Object.hasOwn(TORCH_DTYPES, name) ? TORCH_DTYPES[name] : undefined;
  return dtype === undefined ? { unsupported: path } : { dtype };
}

interface TensorArguments {
  offset: PickleValue | undefined;
  shape: PickleValue | undefined;
  strides: PickleValue | undefined;
  dtype?: PickleValue | undefined;
}

function tensorOf(storage: PickleValue | undefined, { offset, shape, strides, dtype }: TensorArguments) {
  if (!(storage instanceof StorageView)) return undefined;
  if (offset === undefined || shape === undefined || strides === undefined) return undefined;
  const element = dtype instanceof Global ? dtypeElement(dtype) : storage.element;
  return new TensorView({ storage, element, offset, shape, strides });
}

function onlyTensor(value: PickleValue | undefined): TensorView | undefined {
  return value instanceof TensorView ? value : undefined;
}

function dictOf(pairs: PickleValue | undefined): Dict | undefined {
  const dict = new Dict();
  if (pairs instanceof Dict) for (const [key, value] of pairs.entries) dict.entries.set(key, value);
  if (pairs === undefined || pairs instanceof Dict) return dict;
  for (const pair of itemsOf(pairs) ?? [undefined]) {
    const [key, value, ...more] = itemsOf(pair) ?? [];
    if (key === undefined || value === undefined || more.length > 0) return undefined;
    dict.entries.set(key, value);
  }
  return dict;
}

function tupleOf(items: PickleValue | undefined): Tuple | undefined {
  const list = items === undefined ? [] : itemsOf(items);
  return list && new Tuple(list);
}

function setOf(items: PickleValue | undefined): SetOf | undefined {
  const list = items === undefined ? [] : itemsOf(items);
  return list && new SetOf(list);
}

function deviceOf(type: PickleValue | undefined, index: PickleValue | undefined): string | undefined {
  if (typeof type !== "string") return undefined;
  return typeof index === "number" ? `${type}:${index}` : type;
}

function latin1(text: PickleValue | undefined): Uint8Array | undefined {
  if (typeof text !== "string" || /[^\0-\xff]/.test(text)) return undefined;
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Names a global. @throws the error made by `fail` if a checkpoint must not name it */
export function global(module: PickleValue | undefined, name: PickleValue | undefined, fail: Fail): Global {
  if (typeof module !== "string" || typeof name !== "string") throw fail("the name of a global is not text");
  const found = findGlobal(module, name);
  if (!found) throw refused(`${module}.${name}`, fail);
  return found;
}

/** Calls a global. @throws the error made by `fail` if it must not be called, or not with these arguments */
export function call(callee: PickleValue | undefined, args: PickleValue | undefined, fail: Fail): PickleValue {
  if (!(callee instanceof Global)) throw fail("calls something that is not a global");
  const items = itemsOf(args);
  if (!items) throw fail(`calls ${quote(callee.path)} with arguments that are not a tuple`);
  if (isListed(callee.path)) {
    const value = CALLS[callee.path]?.(items);
    if (value === undefined && RESTRICTED.has(callee.path)) throw refused(callee.path, fail);
    if (value === undefined) throw fail(`calls ${quote(callee.path)} with arguments that it does not accept`);
    return value;
  }
  if (!isClass(callee.path)) throw refused(callee.path, fail);
  return new Instance(callee.path, items);
}

/**
 * Returns the record of a new object whose class is named like a function, as scripts may name their models. The record
 * is accepted only if it later receives the state of a module (expectModule). Undefined for any other class.
 */
export function doubtfulRecord(type: PickleValue | undefined, args: PickleValue | undefined): Instance | undefined {
  const items = itemsOf(args);
  if (!(type instanceof Global) || !items) return undefined;
  const { path } = type;
  return isListed(path) || isClass(path) || isStandardLibrary(path) ? undefined : new Instance(path, items);
}

/**
 * Checks that a doubtful record received the state of a module.
 * @throws the error made by `fail` if it did not, since it may have been a function
 */
export function expectModule({ className, state }: Instance, fail: Fail): void {
  if (!isModuleState(state)) throw refused(className, fail);
}

function refused(path: string, fail: Fail): Error {
  return fail(`the global ${quote(path)} is not allowed in a checkpoint; it was refused, and no code was run`);
}

/** Top-level modules of Python 3.11, and the two modules of Python 2 that start processes. */
const MODULES = new Set(
  `
  abc aifc antigravity argparse array ast asynchat asyncio asyncore atexit audioop base64 bdb binascii bisect
  builtins bz2 cProfile calendar cgi cgitb chunk cmath cmd code codecs codeop collections colorsys commands
  compileall concurrent configparser contextlib contextvars copy copyreg crypt csv ctypes curses dataclasses
  datetime dbm decimal difflib dis distutils doctest email encodings ensurepip enum errno faulthandler fcntl
  filecmp fileinput fnmatch fractions ftplib functools gc genericpath getopt getpass gettext glob graphlib grp
  gzip hashlib heapq hmac html http idlelib imaplib imghdr imp importlib inspect io ipaddress itertools json
  keyword lib2to3 linecache locale logging lzma mailbox mailcap marshal math mimetypes mmap modulefinder msilib
  msvcrt multiprocessing netrc nis nntplib nt ntpath nturl2path numbers opcode operator optparse os ossaudiodev
  pathlib pdb pickle pickletools pipes pkgutil platform plistlib popen2 poplib posix posixpath pprint profile
  pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri random re readline reprlib resource
  rlcompleter runpy sched secrets select selectors shelve shlex shutil signal site smtpd smtplib sndhdr socket
  socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat statistics string stringprep struct
  subprocess sunau symtable sys sysconfig syslog tabnanny tarfile telnetlib tempfile termios textwrap this
  threading time timeit tkinter token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types
  typing unicodedata unittest urllib uu uuid venv warnings wave weakref webbrowser winreg winsound wsgiref
  xdrlib xml xmlrpc zipapp zipfile zipimport zlib zoneinfo
`
    .trim()
    .split(/\s+/),
);

/**
 * Whether a module belongs to the standard library, where functions such as os.system are. Modules that start with an
 * underscore do, except `__main__`.
 * @param module dotted path
 */
function isStandardLibrary(module: string): boolean {
  const top = module.split(".", 1)[0] as string;
  return MODULES.has(top) || (top.startsWith("_") && top !== "__main__");
}
