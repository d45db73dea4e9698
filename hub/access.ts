// How to reach a Hub: where it is, who we are, where its files are kept. Filled in from the environment by the command
// line and by recipes; nothing here reads it.

export interface HubAccess {
  /** address without a slash at its end, e.g. `https://huggingface.co` */
  endpoint: string;
  /** bearer token; must appear in no message, log or file */
  token?: string | undefined;
  /** the `hub` folder of the Hugging Face cache, shared with Python */
  cache: string;
  /** use the cache alone, ask nobody. Default false */
  offline?: boolean;
  /** default the runtime's */
  fetch?: typeof fetch;
}

export type RepoType = "model" | "dataset";

/** A repository at a revision. */
export interface RepoName {
  type: RepoType;
  /** `owner/name`, or a bare `name` as old repositories have */
  id: string;
  /** branch, tag or commit. Default `main` */
  revision: string;
}
