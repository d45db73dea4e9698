// What JSON.parse hides: keys that appear twice in one object, and numbers not written as plain integers (1e3, 2.0, -0).
// Walks text that JSON.parse has accepted; it checks no syntax. One pass, no recursion.

export interface JsonFindings {
  /** path of the first key that appears for the second time in its object */
  duplicate?: string[];
  /** path of the first number that is no plain integer */
  fraction?: string[];
}

interface Level {
  /** keys so far; undefined in an array */
  keys: Set<string> | undefined;
  /** the key whose value is being walked */
  key: string | undefined;
}

export function scanJson(text: string): JsonFindings {
  const findings: JsonFindings = {};
  const levels: Level[] = [];
  const path = () => levels.flatMap(({ key }) => (key === undefined ? [] : [key]));
  let expectsKey = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at] as string;
    if (character === '"') {
      const end = endOfString(text, at);
      const level = levels.at(-1);
      if (expectsKey && level?.keys) {
        level.key = JSON.parse(text.slice(at, end)) as string;
        if (level.keys.has(level.key)) findings.duplicate ??= path();
        level.keys.add(level.key);
        expectsKey = false;
      }
      at = end - 1;
    } else if (character === "{" || character === "[") {
      levels.push({ keys: character === "{" ? new Set() : undefined, key: undefined });
      expectsKey = character === "{";
    } else if (character === "}" || character === "]") {
      levels.pop();
      expectsKey = false;
    } else if (character === ",") {
      expectsKey = levels.at(-1)?.keys !== undefined;
    } else if (character === "." || character === "-" || isExponent(text, at)) {
      findings.fraction ??= path();
    }
  }
  return findings;
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

/** The e of 1e3, not that of true. */
function isExponent(text: string, at: number): boolean {
  const character = text[at];
  return (character === "e" || character === "E") && /\d/.test(text[at - 1] ?? "");
}
