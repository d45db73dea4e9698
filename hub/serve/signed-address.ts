// Addresses that carry their own permission, for uploads: official clients send contents without a token, to the
// address that they were given. The signature covers all that the address says.

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { HubRefusal } from "./refusal.ts";

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
