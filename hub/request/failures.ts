// Interprets unsuccessful answers and broken connections: whether a retry may help, and the one-line message for the
// user. Nothing is sent here. The error codes are those of huggingface.co (header X-Error-Code;
// huggingface_hub/utils/_http.py reads the same).

import { HubError, type HubErrorCode } from "../access/hub-error.ts";
import { formatRepoName } from "../access/repository.ts";
import { quote } from "../files/file-error.ts";
import { hostOf, howToGetToken, pageOf, type RequestContext, Stalled, safeText } from "./context.ts";

/** Statuses of servers that are busy, overloaded or restarting, and of proxies that lost the connection. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524]);

/** Whether a status is worth a retry. */
export function isPassing(status: number): boolean {
  return PASSING.has(status);
}

/** The pause that a server asks for (Retry-After), in milliseconds. */
export function retryAfter(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  if (text === null) return undefined;
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : undefined;
}

/** An attempt failed for a reason that may pass, so that another may succeed. */
export class PassingFailure extends Error {
  override readonly name = "PassingFailure";
  /** pause that the server asks for, in milliseconds */
  readonly askedDelay: number | undefined;
  constructor(message: string, askedDelay?: number) {
    super(message);
    this.askedDelay = askedDelay;
  }
}

/** What a request was about. */
export interface Asked {
  /** the requested file */
  file?: string | undefined;
  /** host that answered, if it is a storage that the Hub redirected to */
  storage?: string | undefined;
}

/** Makes the error of an unsuccessful answer. */
export async function errorOf(
  response: Response,
  context: RequestContext,
  { file, storage }: Asked = {},
): Promise<HubError> {
  const said = await messageOf(response, context);
  const { status, headers } = response;
  if (storage !== undefined) {
    const saying = `answers with status ${status}${said === "" ? "" : `: ${quote(said)}`}`;
    const name = formatRepoName(context.repo);
    return new HubError("storage", `${name}: the storage at ${storage} ${saying}; try again`, { status });
  }
  const code = codeOf(response, said, context);
  const requestId = headers.get("x-request-id") ?? undefined;
  return new HubError(code, explain(code, { status, said, file }, context), { status, requestId });
}

async function messageOf(response: Response, { access }: RequestContext): Promise<string> {
  const header = response.headers.get("x-error-message");
  const body = await response.text().catch(() => "");
  if (header) return safeText(header, access);
  try {
    const { error, message } = JSON.parse(body) as { error?: unknown; message?: unknown };
    return safeText(String(error ?? message ?? ""), access);
  } catch {
    return /<html|<!doctype/i.test(body) ? "" : safeText(body, access);
  }
}

const BY_HEADER: ReadonlyMap<string, HubErrorCode> = new Map([
  ["RepoNotFound", "no-repository"],
  ["RevisionNotFound", "no-revision"],
  ["EntryNotFound", "no-file"],
  ["GatedRepo", "gated"],
]);

function codeOf({ status, headers }: Response, said: string, { access }: RequestContext): HubErrorCode {
  const known = BY_HEADER.get(headers.get("x-error-code") ?? "");
  if (status === 401 && /invalid credentials in authorization/i.test(said)) return "unauthorized";
  if (known) return known;
  // Without a token, the Hub does not reveal whether a private repository exists.
  if (status === 401) return access.token ? "unauthorized" : "no-repository";
  if (status === 403) return "forbidden";
  if (status === 404) return "no-repository";
  if (status === 409 || status === 412) return "conflict";
  return isPassing(status) ? "unreachable" : "refused";
}

interface Answer {
  status: number;
  said: string;
  file?: string | undefined;
}

function explain(code: HubErrorCode, { status, said, file }: Answer, { access, repo }: RequestContext): string {
  const name = formatRepoName(repo);
  const host = hostOf(access);
  const about = file === undefined ? name : `${name}: ${quote(file)}`;
  const saying = said === "" ? `status ${status}` : `status ${status}: ${quote(said)}`;
  switch (code) {
    case "unauthorized":
      return `${name}: ${host} ${access.token ? "does not know this token" : "requires a token"}; ${howToGetToken(access)}`;
    case "gated":
      return access.token
        ? `${name} is gated and the account of this token has no access yet; ask for it at ${pageOf(access, repo)}`
        : `${name} is gated; ask for access at ${pageOf(access, repo)} and set HF_TOKEN to a token of that account`;
    case "forbidden":
      return `${about}: this token does not permit that (${saying}); use one that does`;
    case "no-repository":
      return access.token
        ? `${host} has no ${repo.type} ${quote(repo.id)} that this token may see; check the name and the token`
        : `${host} has no ${repo.type} ${quote(repo.id)} that is public; check the name, or set HF_TOKEN if it is private`;
    case "no-revision":
      return `${repo.id} has no revision ${quote(repo.revision)}; give a branch, a tag or a commit that it has`;
    case "no-file":
      return `${name} has no file ${quote(file ?? "")}`;
    case "conflict":
      return `${name}: ${host} reports a conflict (${saying})`;
    default:
      return `${about}: ${host} answers with ${saying}`;
  }
}

const CAUSES: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "connection refused"],
  ["ConnectionRefused", "connection refused"],
  ["ECONNRESET", "connection reset"],
  ["ConnectionClosed", "connection closed"],
  ["EPIPE", "connection closed"],
  ["ENOTFOUND", "no such host"],
  ["EAI_AGAIN", "the host's name cannot be looked up"],
  ["FailedToOpenSocket", "the host cannot be reached"],
  ["ETIMEDOUT", "timed out"],
  ["EHOSTUNREACH", "the host cannot be reached"],
  ["ENETUNREACH", "the network cannot be reached"],
]);

/** Messages of runtimes that set no code. */
const WORDS: [RegExp, string][] = [
  [/connection refused/i, "connection refused"],
  [/connection reset|reset by peer/i, "connection reset"],
  [/failed to lookup address|dns error|name or service not known/i, "no such host"],
  [/connection (?:was )?closed|connection error|unexpected (?:end|eof)/i, "connection closed"],
  [/timed out/i, "timed out"],
];

/**
 * Describes why a connection failed, as a clause. Addresses are removed, because those of storages grant access for a
 * limited time.
 */
export function brokenBy(error: unknown, { access }: RequestContext): string {
  if (error instanceof Stalled) return error.message;
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const known =
      CAUSES.get(String((at as { code?: unknown }).code)) ?? WORDS.find(([words]) => words.test(at.message))?.[1];
    if (known) return known;
  }
  const text = error instanceof Error ? error.message : String(error);
  return safeText(text.replace(/\(?https?:\/\/\S+/g, "the server"), access).slice(0, 200);
}

/**
 * Makes the error that is thrown after the last attempt. It has no cause, because a runtime may attach the request,
 * including the token, to its error.
 */
export function unreachable(reason: string, context: RequestContext): HubError {
  const { access, repo, patience } = context;
  return new HubError(
    "unreachable",
    `${formatRepoName(repo)}: ${hostOf(access)} cannot be reached after ${patience.attempts} attempts (${reason}); check the network and HF_ENDPOINT`,
  );
}

/**
 * Checks that a partial answer is the requested part.
 * @param asked start is the first requested byte; size is that of the whole file
 * @returns a clause that tells what is wrong, or undefined
 */
export function wrongRange(
  { headers }: Response,
  { start, size }: { start: number; size: number },
): string | undefined {
  const header = headers.get("content-range");
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header ?? "") ?? [];
  if (Number(first) !== start) return `byte ${start} was requested, but "${header}" arrived`;
  return total === "*" || Number(total) === size ? undefined : `it has ${total} bytes now, not ${size}`;
}
