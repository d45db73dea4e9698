// What every request to a Hub has with it: where to, as whom, about which repository, and for how long. Built once for
// a pull or a push.

import type { HubAccess, RepoName } from "../access/repository.ts";
import { type Patience, patienceOf } from "./patience.ts";

export interface Retry {
  kind: "retrying";
  file?: string | undefined;
  attempt: number;
  delayMs: number;
  reason: string;
}

export interface RequestContext {
  access: HubAccess;
  repo: RepoName;
  patience: Patience;
  signal?: AbortSignal | undefined;
  /** told before each pause */
  onRetry: (retry: Retry) => void;
}

export interface ContextOptions {
  patience?: Partial<Patience> | undefined;
  signal?: AbortSignal | undefined;
  onRetry?: (retry: Retry) => void;
}

export function requestContext(
  access: HubAccess,
  repo: RepoName,
  { patience, signal, onRetry = () => {} }: ContextOptions = {},
): RequestContext {
  const endpoint = access.endpoint.replace(/\/+$/, "");
  return { access: { ...access, endpoint }, repo, patience: patienceOf(patience), signal, onRetry };
}

/** Host and port of the Hub, for messages: the address itself may hold a password. */
export function hostOf({ endpoint }: HubAccess): string {
  return URL.canParse(endpoint) ? new URL(endpoint).host : endpoint;
}

/** What to do without a token that the Hub knows. */
export function howToGetToken({ endpoint }: HubAccess): string {
  const page = endpoint === "https://huggingface.co" ? `make one at ${endpoint}/settings/tokens and ` : "";
  return `${page}set HF_TOKEN to ${page ? "it" : "one of its tokens"}`;
}

/** `models/owner/name` has no prefix on the Hub's pages, data sets do. */
export function pageOf({ endpoint }: HubAccess, { type, id }: RepoName): string {
  return `${endpoint}/${type === "model" ? "" : `${type}s/`}${id}`;
}

/** Where a file of a commit is. */
export function resolveUrl(path: string, commit: string, { access, repo }: RequestContext): string {
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return `${pageOf(access, repo)}/resolve/${commit}/${encoded}`;
}

/** A text from elsewhere, on one line, without the token should it be in there. */
export function safeText(text: string, { token }: HubAccess): string {
  const line = text.replace(/\s+/g, " ").trim();
  return token ? line.replaceAll(token, "…") : line;
}
