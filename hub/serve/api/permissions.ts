// Tokens and what they permit, and signed addresses for uploads. A request has one token or none. Tokens are compared
// by their hashes, in constant time, and never appear in answers or logs. Official clients send file contents without
// a token, to an address that carries a signature of all its values.

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { RepoSettings } from "../store/records.ts";
import { HubRefusal } from "../store/refusal.ts";

/**
 * `write`: everything. `read`: reads private and gated repositories too. `guest`: has an account and reads public
 * repositories.
 */
export type Role = "write" | "read" | "guest";

/** A token that the Hub accepts. */
export interface HubToken {
  /** starts with `hf_`, as official clients require */
  token: string;
  role: Role;
  /** name of the user. Default `local` */
  user?: string;
}

/** The user who sent a request. */
export interface Caller {
  role: Role;
  user: string;
}

const DEFAULT_USER = "local";

/** Identifies the sender of a request. */
export type Authenticate = (authorization: string | undefined) => Caller | undefined;

/**
 * Makes a function that identifies the sender by the `Authorization` header. It returns undefined for a request
 * without a token.
 * @throws {HubRefusal} (when called) 401 for an unknown token
 */
export function authenticator(tokens: readonly HubToken[]): Authenticate {
  const known = tokens.map(({ token, role, user = DEFAULT_USER }) => ({ hash: digest(token), caller: { role, user } }));
  return (authorization) => {
    if (authorization === undefined) return undefined;
    const hash = digest(/^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? "");
    const found = known.find((entry) => timingSafeEqual(entry.hash, hash));
    if (!found)
      throw new HubRefusal(401, "this Hub does not know that token; use the one it was started with, or none");
    return found.caller;
  };
}

/** Whether the caller may see a repository. */
export function mayRead(settings: RepoSettings, caller: Caller | undefined): boolean {
  return !settings.private || caller?.role === "write" || caller?.role === "read";
}

/**
 * Checks that the caller may read the files of a gated repository.
 * @throws {HubRefusal} 401 or 403
 */
export function requireGateOpen(settings: RepoSettings, caller: Caller | undefined, id: string): void {
  if (!settings.gated || caller?.role === "write" || caller?.role === "read") return;
  const status = caller ? 403 : 401;
  const reason = caller ? "your token is not on its list" : "a token is needed";
  throw new HubRefusal(status, `access to ${id} is restricted: ${reason}`, "GatedRepo");
}

/**
 * Checks that the caller may write.
 * @throws {HubRefusal} 401 without a token, 403 if the token may not write
 */
export function requireWriter(caller: Caller | undefined): Caller {
  if (!caller) throw new HubRefusal(401, "writing to this Hub needs its token; set HF_TOKEN to it");
  if (caller.role !== "write") throw new HubRefusal(403, "this token may not write to this Hub");
  return caller;
}

/**
 * The refusal for a repository that does not exist or that the caller may not see. As on huggingface.co, the two
 * cannot be told apart.
 */
export function noRepository(id: string, caller: Caller | undefined): HubRefusal {
  const line = caller
    ? `there is no repository ${id} here, or this token may not see it`
    : `there is no repository ${id} here, or it is private and needs a token`;
  return new HubRefusal(caller ? 404 : 401, line, "RepoNotFound");
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** Signs addresses and checks their signatures. */
export interface Signer {
  /** Adds values, an expiry time and a signature to a path. */
  sign(path: string, values: Record<string, string | number>): string;
  /** @throws {HubRefusal} 403 if the signature is wrong or the address has expired */
  check(path: string, query: URLSearchParams): void;
}

/** Lifetime of an address in milliseconds. A slow upload can take days. */
const LIFETIME = 7 * 24 * 3600 * 1000;

/**
 * Makes a signer.
 * @param secret must be the same after a restart, so that clients can continue their uploads
 */
export function createSigner(secret: string, now: () => number = Date.now): Signer {
  const key = createHash("sha256").update(`upload addresses of ${secret}`).digest();
  const signature = (path: string, query: URLSearchParams) => {
    const said = [...query].filter(([name]) => name !== "signature").sort(([a], [b]) => (a < b ? -1 : 1));
    return createHmac("sha256", key)
      .update(JSON.stringify([path, said]))
      .digest();
  };
  return {
    sign: (path, values) => {
      const query = new URLSearchParams(
        Object.entries({ ...values, expires: now() + LIFETIME }).map(([k, v]) => [k, `${v}`]),
      );
      query.set("signature", signature(path, query).toString("hex"));
      return `${path}?${query}`;
    },
    check: (path, query) => {
      const given = Buffer.from(query.get("signature") ?? "", "hex");
      const right = signature(path, query);
      if (given.length !== right.length || !timingSafeEqual(given, right) || !(Number(query.get("expires")) > now())) {
        throw new HubRefusal(403, "this upload address is invalid or has expired; ask for a new one");
      }
    },
  };
}
