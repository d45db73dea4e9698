// Rules for the names of repositories, revisions and files. Every name, from an address, a commit or a folder, is
// checked here before it becomes a path: a valid name cannot lead out of its folder.

import type { RepoType } from "../../access/repository.ts";
import { quote } from "../../files/file-error.ts";
import { HubRefusal } from "./refusal.ts";

/** Folder for history inside the served folder. It is not a repository. */
export const STORE_FOLDER = ".gblr-hub";

/** Folder of each type, which is also part of addresses. */
export const TYPE_FOLDERS: Record<RepoType, string> = { model: "models", dataset: "datasets" };

const REPO_PART = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?$/;
/** Names that would make an address ambiguous. */
const RESERVED = new Set(
  (
    "api models datasets spaces resolve raw revision tree paths-info preupload commit commits branch tag settings refs " +
    "super-squash xet-write-token discussions"
  ).split(" "),
);

/** Whether the text can be `owner/name` or a bare `name`. */
export function isRepoId(id: string): boolean {
  const parts = id.split("/");
  return parts.length <= 2 && parts.every(isRepoPart);
}

/** Whether the text can be an owner or a name. */
export function isRepoPart(part: string): boolean {
  return (
    REPO_PART.test(part) && !part.includes("..") && !part.includes("--") && !/\.git$/i.test(part) && !RESERVED.has(part)
  );
}

const LONGEST_SEGMENT = 255;
const LONGEST_PATH = 1024;
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it looks for
const CONTROL = /[\u0000-\u001f\u007f]/;

/** Explains why `path` cannot be a file of a repository. Undefined if it can. */
export function pathProblem(path: string): string | undefined {
  if (path === "") return "it is empty";
  if (CONTROL.test(path) || !path.isWellFormed()) return "it has control characters or invalid Unicode";
  if (path.includes("\\")) return "it has a backslash";
  if (Buffer.byteLength(path) > LONGEST_PATH) return `it is longer than ${LONGEST_PATH} bytes`;
  for (const segment of path.split("/")) {
    if (segment === "") return "it starts or ends with a slash, or has two in a row";
    if (segment === "." || segment === "..") return `it has "${segment}" as a part`;
    if (segment.toLowerCase() === ".git") return "it has a .git in it";
    if (Buffer.byteLength(segment) > LONGEST_SEGMENT) return `a part of it is longer than ${LONGEST_SEGMENT} bytes`;
    if (/^[A-Za-z]:/.test(segment)) return "it looks like a Windows drive";
  }
  return undefined;
}

/**
 * Returns a valid path unchanged.
 * @throws {HubRefusal} 400
 */
export function checkPath(path: string): string {
  const problem = pathProblem(path);
  if (problem) throw new HubRefusal(400, `${quote(path)} cannot be a file of a repository: ${problem}`);
  return path;
}

/** The id of a commit. */
export const COMMIT_ID = /^[0-9a-f]{40}$/;
const REF_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9._/-]{0,78}[A-Za-z0-9_-])?$/;

/** Whether a branch or tag may have this name. A name that looks like a commit id would hide that commit. */
export function isRefName(name: string): boolean {
  return (
    REF_NAME.test(name) &&
    !/\.\.|\/\/|\/\.|\.lock(\/|$)/.test(name) &&
    !/^(refs\/|HEAD$)/.test(name) &&
    !COMMIT_ID.test(name)
  );
}
