// Where the messages of a chat come from: lines that are typed at a terminal, or lines of a pipe.

import { Buffer } from "node:buffer";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import { decodeUtf8 } from "../../../hub/text/utf8.ts";
import { CommandFailed } from "../shared/program.ts";

/** The lines of a pipe as they come, without line ends. @throws CommandFailed if a line is not UTF-8 */
export async function* pipedLines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let parts: Uint8Array[] = [];
  const line = () => decoded(Buffer.concat(parts)).replace(/\r$/, "");
  for await (const chunk of stream) {
    let rest = chunk;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      parts.push(rest.subarray(0, end));
      yield line();
      parts = [];
      rest = rest.subarray(end + 1);
    }
    if (rest.length > 0) parts.push(rest);
  }
  if (parts.length > 0) yield line();
}

const NEWLINE = 0x0a;

/** All of a pipe as one message, without the last line end. @throws CommandFailed if it is not UTF-8 */
export async function pipedText(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of stream) parts.push(chunk);
  return decoded(Buffer.concat(parts)).replace(/\r?\n$/, "");
}

/** Decodes text from stdin. @throws CommandFailed if it is not UTF-8 */
const decoded = (bytes: Uint8Array): string =>
  decodeUtf8(bytes, (position, found) => {
    return new CommandFailed(`the text on stdin is not UTF-8 at byte ${position} (${found}); convert it first`);
  });

/**
 * Lines that are typed at a terminal, with editing and a history. Lines that are typed during an answer are read after
 * it. The terminal is read all the time, so that Ctrl-C is noticed during an answer.
 */
export class TerminalLines {
  readonly #interface: Interface;
  readonly #lines: string[] = [];
  #isClosed = false;
  #wake: () => void = () => {};

  /** @param interrupted called on Ctrl-C */
  constructor(interrupted: () => void) {
    // Prompts go to stderr, so that stdout has the answers only.
    const options = { input: process.stdin, output: process.stderr, terminal: true, prompt: "> " };
    this.#interface = createInterface(options)
      .on("line", (line) => {
        this.#lines.push(line);
        this.#wake();
      })
      .on("close", () => {
        this.#isClosed = true;
        this.#wake();
      })
      .on("SIGINT", interrupted);
  }

  /** Shows a prompt. @returns the next line; undefined after Ctrl-D */
  async next(): Promise<string | undefined> {
    if (this.#lines.length === 0 && !this.#isClosed) {
      this.#interface.prompt();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#lines.shift();
  }

  /** Restores the terminal. `next` returns undefined after the lines that were typed. */
  close(): void {
    this.#interface.close();
  }
}
