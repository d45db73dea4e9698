// The error that handlers throw when they refuse a request: an HTTP status, the code that clients look for, and one
// line of text. Any other error becomes a 500 that reveals nothing about the server.

/** Codes of the X-Error-Code header, as huggingface.co spells them. */
export type ErrorCode = "RepoNotFound" | "RevisionNotFound" | "EntryNotFound" | "GatedRepo";

/** A request is refused. */
export class HubRefusal extends Error {
  override readonly name = "HubRefusal";
  readonly status: number;
  readonly code: ErrorCode | undefined;

  constructor(status: number, message: string, code?: ErrorCode) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Errors of the file system that describe the state of the folder, not a fault of the server. */
const DISK_REFUSALS: Record<string, [status: number, line: string]> = {
  ENOSPC: [507, "no space is left on the Hub's disk; nothing was changed"],
  EDQUOT: [507, "the quota of the Hub's disk is used up; nothing was changed"],
  EFBIG: [507, "the Hub's disk does not support a file that large; nothing was changed"],
  EROFS: [403, "the Hub's folder is read-only; it can be read but not written"],
  EACCES: [403, "the Hub may not write to its folder; it can be read but not written"],
  EPERM: [403, "the Hub may not write to its folder; it can be read but not written"],
  ENOTDIR: [403, "the Hub's folder cannot be written: a file is where a folder should be"],
  ENAMETOOLONG: [400, "a name is too long for the Hub's disk"],
  EMFILE: [503, "the Hub has too many files open; try again"],
  ENFILE: [503, "the Hub has too many files open; try again"],
};

/** The refusal for an error. Undefined for a fault of the server, whose details the client must not see. */
export function refusalFor(error: unknown): HubRefusal | undefined {
  if (error instanceof HubRefusal) return error;
  const entry = DISK_REFUSALS[(error as NodeJS.ErrnoException | undefined)?.code ?? ""];
  return entry && new HubRefusal(...entry);
}
