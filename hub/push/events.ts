// What a push tells while it goes on, and what it can be asked. Types only.

import type { Patience } from "../request/patience.ts";

export interface PushOptions {
  /** make the repository, and the branch, if it is not there */
  create?: boolean | undefined;
  /** visibility of a repository made now. Default what the owner's settings say */
  private?: boolean | undefined;
  /** title of the commit */
  message?: string | undefined;
  /** only files that match one of these. `*` stands for any characters, slashes too */
  include?: readonly string[] | undefined;
  /** but none that match one of these, nor what never belongs in a repository: see folder-files.ts */
  exclude?: readonly string[] | undefined;
  /** branch. Default that of the repository's name, which is `main` unless it says otherwise */
  revision?: string | undefined;
  signal?: AbortSignal | undefined;
  /** how long and how often to try. Default that of request/patience.ts */
  patience?: Partial<Patience> | undefined;
}

export type PushEvent =
  | { kind: "created"; url: string }
  /** what the folder has, and how much of it the repository has already */
  | { kind: "listed"; files: number; bytes: number; unchanged: number; unchangedBytes: number }
  | { kind: "hashing"; file: string; done: number; size: number }
  /** `bytes` more of a file are sent, `done` of `size` now; negative where a part has to be sent again */
  | { kind: "uploading"; file: string; bytes: number; done: number; size: number }
  /** the Hub has the content of this large file from before */
  | { kind: "present"; file: string; size: number }
  | { kind: "retrying"; file?: string | undefined; attempt: number; delayMs: number; reason: string }
  | { kind: "committing"; files: number }
  /** last of all. `files` went into the commit; none where the repository had everything, and `commit` is its latest */
  | { kind: "pushed"; url: string; commit: string; files: string[] };
