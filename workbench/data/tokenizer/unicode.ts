// The character classes of Rust's `tokenizers`, whose parts were built with different versions of Unicode. They are
// written as differences to the classes of JavaScript, so that ids do not depend on the version of the runtime.

/** Ranges of code points as the body of a character class. @param ranges hexadecimal, `a-b c` */
function body(ranges: string): string {
  return ranges
    .split(" ")
    .map((range) =>
      range
        .split("-")
        .map((point) => `\\u{${point}}`)
        .join("-"),
    )
    .join("");
}

/**
 * Code points that are assigned in Unicode 17 and not in Unicode 16, which Oniguruma and Rust's `regex` have: they are
 * in no class there.
 */
const AFTER_16 = body(
  "88f c5c cdc 1acf-1add 1ae0-1aeb 20c1 2b96 a7ce-a7cf a7d2 a7d4 a7f1 fbc3-fbd2 fd90-fd91 fdc8-fdce 10940-10959 " +
    "10ec5-10ec7 10ed0-10ed8 10efa-10efb 11b60-11b67 11db0-11ddb 11de0-11de9 16ea0-16eb8 16ebb-16ed3 16ff2-16ff6 " +
    "187f8-187ff 18d09-18d1e 18d80-18df2 1ccfa-1ccfc 1ceba-1ced0 1cee0-1cef0 1e6c0-1e6de 1e6e0-1e6f5 1e6fe-1e6ff " +
    "1f6d8 1f777-1f77a 1f8d0-1f8d8 1fa54-1fa57 1fa8a 1fa8e 1fac8 1facd 1faea 1faef 1fbfa 2b73a-2b73f 2cea2-2cead " +
    "323b0-33479",
);

const AFTER_16_ANY = new RegExp(`[${AFTER_16}]`, "gu");
/** No text below U+088F has a younger code point. */
const MAY_BE_YOUNG = /[\u088f-\uffff]/;

/**
 * Replaces code points younger than Unicode 16 by unassigned ones of the same length, so that expressions match at the
 * same positions as in Rust.
 */
export function asUnicode16(text: string): string {
  if (!MAY_BE_YOUNG.test(text)) return text;
  return text.replace(AFTER_16_ANY, (character) => (character.length === 1 ? "\u0378" : "\u{e0080}"));
}

/** Code points with a decomposition or a combining class that Unicode 9, which Rust's normalization has, lacks. */
const NORMALIZED_AFTER_9 = body(
  "7fd 897-89f 8ca-8d3 9fe c3c d3b-d3c eba 1715 1abf-1add 1ae0-1aeb 1df6-1dfa 32ff a7f1-a7f4 a82c ab69 105c9 105e4 " +
    "10781-10785 10787-107b0 107b2-107ba 10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10efb 10efd-10eff 10f46-10f50 " +
    "10f82-10f85 11070 1133b 11383 11385 1138e 11391 113c5 113c7-113c8 113ce-113d0 1145e 11839-1183a 11938 " +
    "1193d-1193e 11943 119e0 11a34 11a47 11a99 11d42 11d44-11d45 11d97 11f41-11f42 16121-16128 1612f 16d68-16d6a " +
    "16ff0-16ff1 1ccd6-1ccf9 1e030-1e06d 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 " +
    "1e6ee-1e6ef 1e6f5 1f16c 1fbf0-1fbf9",
);
/** First characters of the compositions among them. */
const COMPOSED_AFTER_9 = body("105d2 105da 11382 11384 1138b 11390 113c2 11935 1611e 16129 16d63 16d67");

const INERT = new RegExp(`([${NORMALIZED_AFTER_9}${COMPOSED_AFTER_9}])`, "u");
/** Text below U+0300 has all forms but those of compatibility already, or decomposes as in every version. */
const MAY_BE_INERT = /[\u07fd-\uffff]/;

/** Normalizes text to a form of Unicode 9: younger code points stay as they are, and no mark moves across them. */
export function normalizeAsUnicode9(text: string, form: "NFC" | "NFD" | "NFKC" | "NFKD"): string {
  if (!MAY_BE_INERT.test(text) || !INERT.test(text)) return text.normalize(form);
  return text
    .split(INERT)
    .map((part, i) => (i % 2 === 0 ? part.normalize(form) : part))
    .join("");
}

/** Punctuation of Unicode 8 and of ASCII, whose symbols count as punctuation. */
export const PUNCTUATION = `[[\\p{P}\\u0021-\\u002f\\u003a-\\u0040\\u005b-\\u0060\\u007b-\\u007e${body(
  "166d 111c9",
)}]--[${body(
  "61d 9fd a76 c77 c84 1b4e-1b4f 1b7d-1b7f 2e43-2e4f 2e52-2e5d 10d6e 10ead 10ed0 10f55-10f59 10f86-10f89 113d4-113d5 " +
    "113d7-113d8 1144b-1144f 1145a-1145b 1145d 11660-1166c 116b9 1183b 11944-11946 119e2 11a3f-11a46 11a9a-11a9c " +
    "11a9e-11aa2 11b00-11b09 11be1 11c41-11c45 11c70-11c71 11ef7-11ef8 11f43-11f4f 11fff 12ff1-12ff2 16d6d-16d6f " +
    "16e97-16e9a 16fe2 1e5ff 1e95e-1e95f",
)}]]`;

/** Combining marks without width of Unicode 8, which BertNormalizer removes. */
export const NONSPACING_MARK = `[[\\p{Mn}${body("1734 1171e")}]--[${body(
  "7fd 897-89f 8ca-8e1 9fe afa-aff b55 c04 c3c d00 d3b-d3c d81 eba ece 180f 1885-1886 1abf-1add 1ae0-1aeb 1df6-1dfb " +
    "a82c a8c5 a8ff a9bd 10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10eff 10f46-10f50 10f82-10f85 11070 11073-11074 " +
    "110c2 111c9 111cf 1123e 11241 1133b 113bb-113c0 113ce 113d0 113d2 113e1-113e2 11438-1143f 11442-11444 11446 " +
    "1145e 1182f-11837 11839-1183a 1193b-1193c 1193e 11943 119d4-119d7 119da-119db 119e0 11a01-11a0a 11a33-11a38 " +
    "11a3b-11a3e 11a47 11a51-11a56 11a59-11a5b 11a8a-11a96 11a98-11a99 11b60 11b62-11b64 11b66 11c30-11c36 " +
    "11c38-11c3d 11c3f 11c92-11ca7 11caa-11cb0 11cb2-11cb3 11cb5-11cb6 11d31-11d36 11d3a 11d3c-11d3d 11d3f-11d45 " +
    "11d47 11d90-11d91 11d95 11d97 11ef3-11ef4 11f00-11f01 11f36-11f3a 11f40 11f42 11f5a 13440 13447-13455 " +
    "1611e-16129 1612d-1612f 16f4f 16fe4 1cf00-1cf2d 1cf30-1cf46 1e000-1e006 1e008-1e018 1e01b-1e021 1e023-1e024 " +
    "1e026-1e02a 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 1e6ee-1e6ef 1e6f5 " +
    "1e944-1e94a",
)}]]`;

/** Marks of Unicode 9, which StripAccents removes. */
export const MARK = `[[\\p{M}${body("1cf2-1cf3")}]--[${body(
  "7fd 897-89f 8ca-8d3 9fe afa-aff b55 c04 c3c cf3 d00 d3b-d3c d81 eba ece 1715 180f 1abf-1add 1ae0-1aeb 1cf7 " +
    "1df6-1dfa a82c a8ff 10d24-10d27 10d69-10d6d 10eab-10eac 10efa-10eff 10f46-10f50 10f82-10f85 11070 11073-11074 " +
    "110c2 11145-11146 111c9 111ce-111cf 11241 1133b 113b8-113c0 113c2 113c5 113c7-113ca 113cc-113d0 113d2 " +
    "113e1-113e2 1145e 1182c-1183a 11930-11935 11937-11938 1193b-1193e 11940 11942-11943 119d1-119d7 119da-119e0 " +
    "119e4 11a01-11a0a 11a33-11a39 11a3b-11a3e 11a47 11a51-11a5b 11a8a-11a99 11b60-11b67 11d31-11d36 11d3a " +
    "11d3c-11d3d 11d3f-11d45 11d47 11d8a-11d8e 11d90-11d91 11d93-11d97 11ef3-11ef6 11f00-11f01 11f03 11f34-11f3a " +
    "11f3e-11f42 11f5a 13440 13447-13455 1611e-1612f 16f4f 16f7f-16f87 16fe4 16ff0-16ff1 1cf00-1cf2d 1cf30-1cf46 " +
    "1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 1e6ee-1e6ef 1e6f5",
)}]]`;

/** Control, format and private characters of Unicode 8, which BertNormalizer removes; tab and line ends are not. */
export const CONTROL = `[${body(
  "0-8 b-c e-1f 7f-9f ad 600-605 61c 6dd 70f 180e 200b-200f 202a-202e 2060-2064 2066-206f e000-f8ff feff fff9-fffb " +
    "fffd 110bd 1bca0-1bca3 1d173-1d17a e0001 e0020-e007f f0000-ffffd 100000-10fffd",
)}]`;

/** Control characters that the normalizer Nmt removes. */
export const NMT_CONTROL = `[${body("1-8 b e-1f 7f 8f 9f")}]`;

/** Whether all characters of a text are ASCII. */
export function isAscii(text: string): boolean {
  return !/[\u0080-\uffff]/.test(text);
}

/** `\w` of Rust's `regex`, without brackets. */
export const RUST_WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";
