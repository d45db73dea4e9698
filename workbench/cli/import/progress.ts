// Runs the imports of `gblr import` with a progress bar. Ctrl-C stops them.

import type { WriteProgress } from "../../../hub/safetensors/index.ts";
import { CommandFailed, interruptible } from "../shared/program.ts";
import { type ProgressBar, progressBar } from "../shared/progress.ts";

interface Shown<Event, Result> {
  /** the file that is imported, for errors */
  file: string;
  /** name of the work on the bar */
  label: string;
  /** shows an event. @returns the result of the import at the last event, else undefined */
  show: (event: Event, bar: ProgressBar) => Result | undefined;
}

/** Runs an import with a progress bar. @throws Interrupted after Ctrl-C */
export function withProgress<Event, Result>(
  events: AsyncIterable<Event>,
  { file, label, show }: Shown<Event, Result>,
): Promise<Result> {
  return interruptible("interrupted; nothing was written", async (signal) => {
    const bar = progressBar({ label });
    try {
      for await (const event of events) {
        const result = show(event, bar);
        if (result !== undefined) return result;
        signal.throwIfAborted();
      }
      throw new CommandFailed(`${file}: the import ended early`);
    } finally {
      bar.stop();
    }
  });
}

/** Number of tensors and their bytes. */
interface Size {
  tensors: number;
  bytes: number;
}

/** Events of an import that copies tensors: the size, the progress, and the result. */
type CopyEvent = ({ kind: "opened" } & Size) | WriteProgress | { kind: "imported" };

/** Runs an import that copies tensors with a progress bar. @returns the last event, and the size of what was written */
export function copyWithProgress<Event extends CopyEvent>(
  events: AsyncIterable<Event>,
  file: string,
): Promise<{ imported: Extract<Event, { kind: "imported" }>; size: Size }> {
  let size: Size = { tensors: 0, bytes: 0 };
  return withProgress(events, {
    file,
    label: "importing",
    show: (event, bar) => {
      if (event.kind === "imported") return { imported: event as Extract<Event, { kind: "imported" }>, size };
      if (event.kind === "opened") {
        size = { tensors: event.tensors, bytes: event.bytes };
        bar.setTotal(event.bytes);
      } else bar.advance(event.bytes);
      return undefined;
    },
  });
}
