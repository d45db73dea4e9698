// What an answer or a broken connection means, and whether asking again can help. Makes the one line that the user
// sees; sends nothing.

import { HubError, type HubErrorCode } from "../access/hub-error.ts";
import { formatRepoName } from "../access/repository.ts";
import { quote } from "../files/file-error.ts";
import { hostOf, howToGetToken, pageOf, type RequestContext, Stalled, safeText } from "./context.ts";

/** Busy, overloaded, restarting, or cut off by something in between. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524]);

export function isPassing(status: number): boolean {
  return PASSING.has(status);
}

/** Milliseconds that the Hub asks to wait. */
export function retryAfter(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  if (text === null) return undefined;
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : undefined;
}

export interface Asked {
  /** the file that was asked for */
  file?: string | undefined;
  /** who answers, if it is not the Hub but storage that it sent us to */
  storage?: string | undefined;
}

/** Reads an answer that is no success. */
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
  // Whoever has no token is not told that a private repository exists.
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
      return `${name}: ${host} ${access.token ? "does not know this token" : "wants a token"}; ${howToGetToken(access)}`;
    case "gated":
      return access.token
        ? `${name} is gated and the account of this token has no access yet; ask for it at ${pageOf(access, repo)}`
        : `${name} is gated; ask for access at ${pageOf(access, repo)} and set HF_TOKEN to a token of that account`;
    case "forbidden":
      return `${about}: this token may not do that (${saying}); use one with the permission for it`;
    case "no-repository":
      return access.token
        ? `${host} has no ${repo.type} ${quote(repo.id)} that this token may see; check the name and the token`
        : `${host} has no ${repo.type} ${quote(repo.id)} that is public; check the name, or set HF_TOKEN if it is private`;
    case "no-revision":
      return `${repo.id} has no revision ${quote(repo.revision)}; give a branch, a tag or a commit that it has`;
    case "no-file":
      return `${name} has no file ${quote(file ?? "")}`;
    case "conflict":
      return `${name}: ${host} refuses because of what is there (${saying})`;
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

/** Of runtimes that give no code. */
const WORDS: [RegExp, string][] = [
  [/connection refused/i, "connection refused"],
  [/connection reset|reset by peer/i, "connection reset"],
  [/failed to lookup address|dns error|name or service not known/i, "no such host"],
  [/connection (?:was )?closed|connection error|unexpected (?:end|eof)/i, "connection closed"],
  [/timed out/i, "timed out"],
];

/** Why a connection failed, as a clause without addresses: those of storage are secrets for a while. */
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

/** After the last try. Has no cause: a runtime may hang the request on its error, token and all. */
export function unreachable(reason: string, context: RequestContext): HubError {
  const { access, repo, patience } = context;
  return new HubError(
    "unreachable",
    `${formatRepoName(repo)}: ${hostOf(access)} cannot be reached after ${patience.attempts} tries (${reason}); check the network and HF_ENDPOINT`,
  );
}

/** Why a part is not the one that was asked for, as a clause; nothing if it is. @param asked first byte; bytes of the whole file */
export function wrongRange(
  { headers }: Response,
  { start, size }: { start: number; size: number },
): string | undefined {
  const header = headers.get("content-range");
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header ?? "") ?? [];
  if (Number(first) !== start) return `byte ${start} was asked for and "${header}" came`;
  return total === "*" || Number(total) === size ? undefined : `it has ${total} bytes now, not ${size}`;
}
