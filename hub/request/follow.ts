// One request, followed through redirects, without retries. The token goes to the Hub alone: a redirect to the storage
// behind it carries none, whatever the runtime's own fetch would do.

import { HubError } from "../hub-error.ts";
import type { RequestContext } from "./context.ts";

const MOST_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Headers that only the server they were meant for may see. */
const PRIVATE_HEADERS = ["authorization", "cookie", "if-range"];

export interface Followed {
  response: Response;
  /** headers of the Hub's own answer, which names the file's hash even where the storage does not */
  first: Headers;
  /** host of the storage that the answer is from, if it is not the Hub's own */
  storage: string | undefined;
}

/** @throws what fetch throws; HubError for a redirect that leads nowhere */
export async function follow(url: string, init: RequestInit, { access }: RequestContext): Promise<Followed> {
  const fetcher = access.fetch ?? globalThis.fetch;
  const home = new URL(access.endpoint).origin;
  const headers = new Headers(init.headers);
  headers.delete("authorization");
  let request: RequestInit = { ...init, redirect: "manual" };
  let target = new URL(url);
  let first: Headers | undefined;
  for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
    const sent = new Headers(headers);
    if (target.origin === home) {
      if (access.token) sent.set("authorization", `Bearer ${access.token}`);
    } else for (const name of PRIVATE_HEADERS) sent.delete(name);
    const response = await fetcher(target.href, { ...request, headers: sent });
    first ??= response.headers;
    const location = response.headers.get("location");
    if (!REDIRECTS.has(response.status) || location === null) {
      return { response, first, storage: target.origin === home ? undefined : target.host };
    }
    await response.body?.cancel();
    target = redirectTarget(location, target);
    if (response.status === 303 || (response.status < 303 && request.method === "POST")) {
      request = { ...request, method: "GET", body: null };
    }
  }
  throw new HubError("refused", `${target.host} redirects more than ${MOST_REDIRECTS} times`);
}

function redirectTarget(location: string, from: URL): URL {
  const target = URL.canParse(location, from) ? new URL(location, from) : undefined;
  if (target?.protocol === "https:" || (target?.protocol === "http:" && from.protocol === "http:")) return target;
  throw new HubError(
    "refused",
    `${from.host} redirects to ${target ? `${target.protocol}//` : "no address"}, which is not safe to follow`,
  );
}
