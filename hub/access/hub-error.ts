// The error of everything that talks to a Hub. Its code tells programs what went wrong. Its message is one line: what
// was requested, what the Hub answered, what to do. Messages never contain the token.

/** What went wrong, for programs. */
export type HubErrorCode =
  /** there is no token, or the Hub does not know it */
  | "unauthorized"
  /** the token does not have the permission */
  | "forbidden"
  /** the owner has to grant access first */
  | "gated"
  | "no-repository"
  | "no-revision"
  | "no-file"
  /** the target already exists, or someone else changed it in the meantime */
  | "conflict"
  /** any other unsuccessful answer */
  | "refused"
  /** the storage that the Hub redirects to did not deliver or accept a file; its addresses expire */
  | "storage"
  /** no answer, after all retries */
  | "unreachable"
  /** the content does not match what the Hub announced, after all retries */
  | "corrupt"
  /** a file name that leads out of its folder */
  | "unsafe-name"
  /** the file is not in the cache, and the network may not be used */
  | "not-cached"
  | "no-space"
  /** the cache or a folder cannot be read or written */
  | "no-access"
  /** there is nothing to do: the folder has no files, or the patterns match none */
  | "no-match";

/** What the Hub's answer stated. */
export interface HubErrorOptions extends ErrorOptions {
  /** HTTP status */
  status?: number;
  /** the Hub's id of the request, which its operators can look up */
  requestId?: string | undefined;
}

/** An operation on a Hub failed. The message is one line. */
export class HubError extends Error {
  override readonly name = "HubError";
  readonly code: HubErrorCode;
  readonly status: number | undefined;
  readonly requestId: string | undefined;

  constructor(code: HubErrorCode, message: string, { status, requestId, ...options }: HubErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.status = status;
    this.requestId = requestId;
  }
}
