// How to reach a Hub: where it is, who we are, where its files are kept. Filled in from the environment by the command
// line and by recipes; nothing here reads it.

import { quote } from "../files/file-error.ts";

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

/** A name that no repository or revision can have. */
export class RepoNameError extends Error {
  override readonly name = "RepoNameError";
}

const LONGEST_PART = 96;
const LONGEST_REVISION = 255;
const PART = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$/;

/** @throws RepoNameError */
export function parseRepoName(text: string, type: RepoType): RepoName {
  const at = text.indexOf("@");
  const id = at < 0 ? text : text.slice(0, at);
  const revision = at < 0 ? "main" : text.slice(at + 1);
  const name = { type, id, revision };
  checkRepoName(name);
  return name;
}

/** What the Hub accepts, and nothing that could leave the cache when it becomes a path. @throws RepoNameError */
export function checkRepoName({ type, id, revision }: RepoName): void {
  const problem = problemOfId(id);
  if (problem) {
    throw new RepoNameError(`${quote(id)} is no name of a ${type}: ${problem}; a name is like "owner/name"`);
  }
  if (!isRevision(revision)) {
    throw new RepoNameError(`${quote(revision)} is no revision of ${id}; give a branch, a tag or a commit`);
  }
}

/** `owner/name`, with `@revision` where it is not `main`. */
export function formatRepoName({ id, revision }: RepoName): string {
  return revision === "main" ? id : `${id}@${revision}`;
}

/** A commit never changes what it stands for, unlike a branch. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

function problemOfId(id: string): string | undefined {
  const parts = id.split("/");
  if (id === "") return "it is empty";
  if (parts.length > 2) return "it has more than one slash";
  if (parts.some((part) => part.length > LONGEST_PART)) return `it is longer than ${LONGEST_PART} characters`;
  if (!parts.every((part) => PART.test(part))) {
    return 'letters, digits, "-", "_" and "." make it up, "-" and "." not at its ends';
  }
  if (id.includes("--") || id.includes("..")) return '"--" and ".." cannot be in it';
  return id.endsWith(".git") ? 'it ends with ".git"' : undefined;
}

/** The rules of git for the names of references. */
function isRevision(text: string): boolean {
  if (text === "" || text.length > LONGEST_REVISION) return false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
  if (/[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{/.test(text)) return false;
  return text.split("/").every((part) => part !== "" && !part.startsWith(".") && !/(?:\.|\.lock)$/.test(part));
}
