// One request, followed through redirects, without retries. The token goes to the Hub alone: a redirect to the storage
// behind it carries none, whatever the runtime's own fetch would do.

import { HubError } from "../access/hub-error.ts";
import type { RequestContext } from "./context.ts";
import { isUnder, underEndpoint } from "./endpoint-path.ts";

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
  /** where the answer is from */
  address: URL;
}

/** @throws what fetch throws; HubError for a redirect that leads nowhere */
export async function follow(url: string, init: RequestInit, { access }: RequestContext): Promise<Followed> {
  const fetcher = access.fetch ?? globalThis.fetch;
  const home = new URL(access.endpoint);
  const headers = new Headers(init.headers);
  headers.delete("authorization");
  let request: RequestInit = { ...init, redirect: "manual" };
  let target = addressOf(url, home);
  let otherwise: URL | undefined;
  let first: Headers | undefined;
  for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
    const sent = new Headers(headers);
    if (target.origin === home.origin) {
      if (access.token) sent.set("authorization", `Bearer ${access.token}`);
    } else for (const name of PRIVATE_HEADERS) sent.delete(name);
    const response = await fetcher(target.href, { ...request, headers: sent });
    if (response.status === 404 && otherwise) {
      await response.body?.cancel();
      [target, otherwise] = [otherwise, undefined];
      continue;
    }
    first ??= response.headers;
    const location = response.headers.get("location");
    if (!REDIRECTS.has(response.status) || location === null) {
      return { response, first, storage: target.origin === home.origin ? undefined : target.host, address: target };
    }
    await response.body?.cancel();
    const said = redirectTarget(location, target);
    const kept = isUnder(target, home) ? underEndpoint(said, home) : undefined;
    [target, otherwise] = kept ? [kept, said] : [said, undefined];
    if (response.status === 303 || (response.status < 303 && request.method === "POST")) {
      request = { ...request, method: "GET", body: null };
    }
  }
  throw new HubError("refused", `${target.host} redirects more than ${MOST_REDIRECTS} times`);
}

/** Addresses that the Hub's answers name can be relative. */
function addressOf(url: string, home: URL): URL {
  if (URL.canParse(url)) return new URL(url);
  const address = new URL(url, home);
  return underEndpoint(address, home) ?? address;
}

function redirectTarget(location: string, from: URL): URL {
  const target = URL.canParse(location, from) ? new URL(location, from) : undefined;
  if (target?.protocol === "https:" || (target?.protocol === "http:" && from.protocol === "http:")) return target;
  throw new HubError(
    "refused",
    `${from.host} redirects to ${target ? `${target.protocol}//` : "no address"}, which is not safe to follow`,
  );
}
