// Values that readers of YAML take for something else, and whatever texts there are.

import fc from "fast-check";

/** Every text that some version takes for something else, or that YAML gives a meaning. */
export const TEXTS = [
  ..."no No NO yes on On off OFF y n Y N true True false null Null ~ = <<".split(" "),
  ..."12:30:45 1:30 1:30.5 190:20:30.15 2020-01-01 2001-12-14t21:59:43.10-05:00 2020-01-01T00:00:00Z".split(" "),
  ..."1e3 1E3 1e+3 1.5e3 1_000 1_0.5 0x10 0b11 0o17 010 0 -0 +1 .5 5. 1.0 0.1.0 .inf -.Inf +.INF .nan .NaN".split(" "),
  ..."e0 E-5 e+1_0".split(" "),
  ..."- -- --- ... ? : :a a: [a] {a} !a &a *a |a >a %a @a `a #a a#b , ' \"".split(" "),
  ...["", " ", " a", "a ", "a: b", "a #b", "- a", "? a", "--- a", "a\n---\nb", "a\nb", "a\tb", "\\n", "'a'", '"a"'],
  ...[
    "\0",
    "\x07",
    "\x1b",
    "\x7f",
    "\x85",
    "\x9f",
    "\xa0",
    "\u2028",
    "\u2029",
    "\ufeffa",
    "\ufffe",
    "é",
    "😀",
    "日本語",
  ],
  ...["Text Generation", "cc-by-nc-4.0", "owner/name", "en", "a_b", "C++", "__proto__", "constructor"],
];

export const NUMBERS = [0, 1, -1, 0.1, 19.24, 1e-7, -2.5e-9, 1e21, 1.5e300, 123456789012345680000, 5e-324];

export const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.stringMatching(/^[-+.0-9eExXoObB_:~tTnNyYfF]{1,8}$/),
  fc.string({ unit: "grapheme", maxLength: 8 }),
);
