// Options and events of `pull`.

import type { Patience } from "../request/context.ts";

/** Options of a pull. */
export interface PullOptions {
  /** only files that match one of these patterns: see access/file-patterns.ts */
  include?: readonly string[] | undefined;
  /** except files that match one of these patterns */
  exclude?: readonly string[] | undefined;
  /** files that may be missing if the Hub cannot be asked and the cache does not have them, as patterns */
  optional?: readonly string[] | undefined;
  signal?: AbortSignal | undefined;
  /** timeouts and retries. Defaults: request/context.ts */
  patience?: Partial<Patience> | undefined;
}

/** Progress of a pull. */
export type PullEvent =
  | {
      /** the first event: the files that the patterns select */
      kind: "resolved";
      /** `owner/name` */
      repo: string;
      commit: string;
      files: number;
      bytes: number;
      /** files and bytes that are already in the cache, including partial downloads */
      cachedFiles: number;
      cachedBytes: number;
    }
  /** the Hub did not answer; the cache is used instead */
  | { kind: "unreachable"; reason: string }
  /** another process is downloading this file; this one waits */
  | { kind: "waiting"; file: string }
  /** `bytes` of a file arrived, `done` of `size` are there; negative when a partial download was discarded */
  | { kind: "progress"; file: string; bytes: number; done: number; size: number }
  | { kind: "retrying"; file?: string | undefined; attempt: number; delayMs: number; reason: string }
  /** the file is verified and in the snapshot */
  | { kind: "file"; file: string; path: string; size: number; from: "cache" | "hub" }
  /** the last event */
  | Pulled;

/** The result of a pull. */
export interface Pulled {
  kind: "pulled";
  /** the snapshot; it has all files that the patterns select */
  folder: string;
  commit: string;
  /** sorted paths in the snapshot, separated by slashes */
  files: string[];
}
