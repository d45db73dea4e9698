// The progress of lm_eval, read from the bars that tqdm writes to its stderr.

/** How much of a part of the work is done. */
export interface HarnessProgress {
  /** what is counted, such as `requests` to the server, `documents` that are prepared or scored; or `starting` */
  what: string;
  done: number;
  /** 0: not known */
  of: number;
}

/** A bar with a known total: `Requesting API:  33%|███▎  | 1/3 [00:00<00:00,  5.00it/s]`. Its description may be missing. */
const BAR = /^(?:(.*?): *)?\s*\d+%\|.*?\| *(\d+)\/(\d+) \[/;

/** Descriptions of bars, and what they count. */
const COUNTED: Readonly<Record<string, string>> = { "": "documents", "Requesting API": "requests" };

/**
 * Makes a reader of one line after another.
 * @returns gives the progress that a line tells, or undefined for another line. A document that is scored in several
 * requests has a bar of its own within that of all documents; the reader keeps to the outer one.
 */
export function progressReader(): (line: string) => HarnessProgress | undefined {
  let outer: HarnessProgress | undefined;
  return (line) => {
    const found = BAR.exec(line);
    if (!found) return undefined;
    const [, description = "", done, of] = found;
    const what = COUNTED[description] ?? description.toLowerCase();
    const progress = { what, done: Number(done), of: Number(of) };
    if (description === "") outer = progress.done < progress.of ? progress : undefined;
    return outer ?? progress;
  };
}
