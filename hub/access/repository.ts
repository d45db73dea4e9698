// How to address a Hub and its repositories. A repository is named `owner/name` or `owner/name@revision`; old
// repositories have a bare `name`. These functions check only the form of a name. The command line and the recipes
// fill in HubAccess from the environment; nothing in hub/ reads the environment.

import { quote } from "../files/file-error.ts";

/** How to reach a Hub, and where its files are cached. */
export interface HubAccess {
  /** address without a trailing slash, e.g. `https://huggingface.co` */
  endpoint: string;
  /** bearer token; it must not appear in any message, log or file */
  token?: string | undefined;
  /** the `hub` folder of the Hugging Face cache, which Python uses too */
  cache: string;
  /** use only the cache and send no request. Default false */
  offline?: boolean;
  /** default: the runtime's own */
  fetch?: typeof fetch;
}

/** Type of a repository. */
export type RepoType = "model" | "dataset";

/** A repository at a revision. */
export interface RepoName {
  type: RepoType;
  /** `owner/name`, or a bare `name` for old repositories */
  id: string;
  /** branch, tag or commit. Default `main` */
  revision: string;
}

/** The text cannot be the name or revision of a repository. */
export class RepoNameError extends Error {
  override readonly name = "RepoNameError";
}

const LONGEST_PART = 96;
const LONGEST_REVISION = 255;
const PART = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$/;

/**
 * Parses `owner/name` or `owner/name@revision`.
 * @throws RepoNameError
 */
export function parseRepoName(text: string, type: RepoType): RepoName {
  const at = text.indexOf("@");
  const id = at < 0 ? text : text.slice(0, at);
  const revision = at < 0 ? "main" : text.slice(at + 1);
  const name = { type, id, revision };
  checkRepoName(name);
  return name;
}

/**
 * Checks a name by the Hub's rules. A valid name is also safe as a path in the cache.
 * @throws RepoNameError
 */
export function checkRepoName({ type, id, revision }: RepoName): void {
  const problem = problemOfId(id);
  if (problem) {
    throw new RepoNameError(`${quote(id)} is not a valid name of a ${type}: ${problem}; a name is like "owner/name"`);
  }
  if (!isRevision(revision)) {
    throw new RepoNameError(`${quote(revision)} is not a valid revision of ${id}; give a branch, a tag or a commit`);
  }
}

/** `owner/name`, followed by `@revision` unless that is `main`. */
export function formatRepoName({ id, revision }: RepoName): string {
  return revision === "main" ? id : `${id}@${revision}`;
}

/** Whether a revision is a commit id. A commit never changes, unlike a branch. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

function problemOfId(id: string): string | undefined {
  const parts = id.split("/");
  if (id === "") return "it is empty";
  if (parts.length > 2) return "it has more than one slash";
  if (parts.some((part) => part.length > LONGEST_PART)) return `it is longer than ${LONGEST_PART} characters`;
  if (!parts.every((part) => PART.test(part))) {
    return 'only letters, digits, "-", "_" and "." are allowed, and no "-" or "." at its ends';
  }
  if (id.includes("--") || id.includes("..")) return '"--" and ".." cannot be in it';
  return id.endsWith(".git") ? 'it ends with ".git"' : undefined;
}

/** Git's rules for the names of references (git-check-ref-format). */
function isRevision(text: string): boolean {
  if (text === "" || text.length > LONGEST_REVISION) return false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
  if (/[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{/.test(text)) return false;
  return text.split("/").every((part) => part !== "" && !part.startsWith(".") && !/(?:\.|\.lock)$/.test(part));
}
