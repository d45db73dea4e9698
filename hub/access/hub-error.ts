// What can go wrong with a Hub, as one class with a code that programs can tell apart. Messages are one line: what was
// asked, what came back, what to do. The token is in none of them.

export type HubErrorCode =
  /** no token, or one that the Hub does not know */
  | "unauthorized"
  /** the token is known and may not do this */
  | "forbidden"
  /** its owner has to grant access first */
  | "gated"
  | "no-repository"
  | "no-revision"
  | "no-file"
  /** there already, or changed by someone else meanwhile */
  | "conflict"
  /** any other answer that is no success */
  | "refused"
  /** the storage that the Hub sends us to gives no file, or takes none: its addresses expire */
  | "storage"
  /** no answer, after retries */
  | "unreachable"
  /** what came is not what the Hub had announced, after retries */
  | "corrupt"
  /** a file name that leads out of the folder */
  | "unsafe-name"
  /** the cache lacks something that only the network has */
  | "not-cached"
  | "no-space"
  /** the cache or a folder cannot be read or written */
  | "no-access"
  /** nothing to do it with: no file in the folder, or none that the patterns let through */
  | "no-match";

export interface HubErrorOptions extends ErrorOptions {
  /** HTTP status */
  status?: number;
  /** what the Hub calls the request in its own logs */
  requestId?: string | undefined;
}

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
