// What a pull tells while it goes on, and what it can be asked. Types only.

import type { Patience } from "../request/context.ts";

export interface PullOptions {
  /** only files that match one of these. `*` stands for any characters, slashes too, as in Python's client */
  include?: readonly string[] | undefined;
  /** but none that match one of these */
  exclude?: readonly string[] | undefined;
  /** of these, what may be left out where the Hub is not asked and the cache does not have it */
  optional?: readonly string[] | undefined;
  signal?: AbortSignal | undefined;
  /** files fetched at a time. Default 4 */
  connections?: number | undefined;
  /** how long and how often to try. Default that of request/patience.ts */
  patience?: Partial<Patience> | undefined;
}

export type PullEvent =
  | {
      /** first of all: what the snapshot has, of what the patterns let through */
      kind: "resolved";
      /** `owner/name` */
      repo: string;
      commit: string;
      files: number;
      bytes: number;
      /** of these, what the cache has already, parts of broken files included */
      cachedFiles: number;
      cachedBytes: number;
    }
  /** the Hub did not answer and the cache is used instead */
  | { kind: "unreachable"; reason: string }
  /** another process is fetching this file */
  | { kind: "waiting"; file: string }
  /** `bytes` more of a file, which has `done` of `size` now; negative where a broken part was thrown away */
  | { kind: "progress"; file: string; bytes: number; done: number; size: number }
  | { kind: "retrying"; file?: string | undefined; attempt: number; delayMs: number; reason: string }
  /** verified and in the snapshot */
  | { kind: "file"; file: string; path: string; size: number; from: "cache" | "hub" }
  /** last of all */
  | Pulled;

export interface Pulled {
  kind: "pulled";
  /** the snapshot, complete for the patterns */
  folder: string;
  commit: string;
  /** paths in it, with slashes, sorted */
  files: string[];
}
