// Decodes tokens that come one by one, up to a stop string. Text that may be the start of a stop string is held back until
// the tokens after it decide.

import type { StreamDecoder } from "./types.ts";

/** Decodes tokens one by one until a stop string has come. */
export interface TextStream {
  /** Adds a token. @returns the text that can be shown, without stop strings */
  push(id: number): string;
  /** whether a stop string has come */
  readonly stopped: boolean;
  /** The rest of the text, after the last token. */
  end(): string;
}

interface TextStreamOptions {
  /** texts that end the text; each has at least one character. Default: none */
  stops?: readonly string[];
  /** text before the first token, in which a stop string can begin, as in transformers. Default: none */
  before?: string;
}

/** Starts a stream, before its first token. */
export function textStream(decoder: StreamDecoder, { stops = [], before = "" }: TextStreamOptions = {}): TextStream {
  const longest = Math.max(0, ...stops.map((stop) => stop.length));
  /** the end of the text that was shown, in which a stop string can begin */
  let shown = before;
  let held = "";
  let stopped = false;

  function add(text: string): string {
    if (stops.length === 0 || text === "" || stopped) return stopped ? "" : text;
    shown = longest > 1 ? shown.slice(1 - longest) : "";
    const known = shown.length + held.length;
    const whole = shown + held + text;
    // A stop string that ends before the new text would have been found before.
    const starts = stops.map((stop) => whole.indexOf(stop, Math.max(0, known - stop.length + 1)));
    const found = Math.min(...starts.map((start) => (start < 0 ? Number.POSITIVE_INFINITY : start)));
    stopped = found !== Number.POSITIVE_INFINITY;
    const end = stopped ? found : whole.length - possibleStart(whole, stops);
    const next = whole.slice(shown.length, Math.max(end, shown.length));
    held = stopped ? "" : whole.slice(Math.max(end, shown.length));
    shown += next;
    return next;
  }

  return {
    push: (id) => add(decoder.push(id)),
    get stopped() {
      return stopped;
    },
    end() {
      const last = add(decoder.end());
      const rest = stopped ? last : last + held;
      held = "";
      return rest;
    },
  };
}

/** Length of the longest end of a text with which a stop string begins. */
function possibleStart(text: string, stops: readonly string[]): number {
  let most = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > most; length--) {
      if (text.endsWith(stop.slice(0, length))) most = length;
    }
  }
  return most;
}
