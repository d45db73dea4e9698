// Who may do what. A Hub knows its tokens and what each may do; a request brings one or none. Tokens are compared by
// their hashes, in constant time, and appear in nothing that is said.

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { HubRefusal } from "./reply.ts";
import type { RepoSettings } from "./store/records.ts";

/** `write`: everything. `read`: private and gated repositories too. `guest`: known, and reads what is public. */
export type Role = "write" | "read" | "guest";

export interface HubToken {
  /** begins with `hf_`, as official clients require */
  token: string;
  role: Role;
  /** who it is; default `local` */
  user?: string;
}

export interface Caller {
  role: Role;
  user: string;
}

export const DEFAULT_USER = "local";

export type Authenticate = (authorization: string | undefined) => Caller | undefined;

/** @returns who sent a request, from its `Authorization`; undefined for nobody */
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

export function mayRead(settings: RepoSettings, caller: Caller | undefined): boolean {
  return !settings.private || caller?.role === "write" || caller?.role === "read";
}

/** @throws {HubRefusal} 401 or 403 if the contents of a gated repository are not for the caller */
export function requireGateOpen(settings: RepoSettings, caller: Caller | undefined, id: string): void {
  if (!settings.gated || caller?.role === "write" || caller?.role === "read") return;
  const status = caller ? 403 : 401;
  const reason = caller ? "your token is not on its list" : "a token is needed";
  throw new HubRefusal(status, `access to ${id} is restricted: ${reason}`, "GatedRepo");
}

/** @throws {HubRefusal} 401 without a token, 403 with one that may not write */
export function requireWriter(caller: Caller | undefined): Caller {
  if (!caller) throw new HubRefusal(401, "writing to this Hub needs its token; set HF_TOKEN to it");
  if (caller.role !== "write") throw new HubRefusal(403, "this token may not write to this Hub");
  return caller;
}

/** As huggingface.co does: whether a private repository exists is not told. */
export function noRepository(id: string, caller: Caller | undefined): HubRefusal {
  const line = caller
    ? `there is no repository ${id} here, or this token may not see it`
    : `there is no repository ${id} here, or it is private and needs a token`;
  return new HubRefusal(caller ? 404 : 401, line, "RepoNotFound");
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

export interface Signer {
  /** `path?…&signature=…` */
  sign(path: string, values: Record<string, string | number>): string;
  /** @throws {HubRefusal} 403 if the address was not signed here, or long ago */
  check(path: string, query: URLSearchParams): void;
}

/** How long an address can be used, in milliseconds: a slow upload takes days. */
const LIFETIME = 7 * 24 * 3600 * 1000;

/** @param secret the same after a restart, so that a client's addresses outlive the server */
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
        throw new HubRefusal(403, "this upload address is not valid, or no longer; ask for a new one");
      }
    },
  };
}
