// A Hub behind a path, such as `http://host/api/hf`: what stands before it may pass on addresses as the Hub writes them,
// without the path. Here they get it back.

import type { HubAccess } from "../access/repository.ts";

const pathOf = ({ pathname }: URL): string => pathname.replace(/\/+$/, "");

/** Whether an address is the endpoint's or below it. */
export const isUnder = (address: URL, endpoint: URL): boolean =>
  address.origin === endpoint.origin && `${address.pathname}/`.startsWith(`${pathOf(endpoint)}/`);

/** The same address below the endpoint. @returns undefined where it is already, or is of another host */
export function underEndpoint(address: URL, endpoint: URL): URL | undefined {
  if (address.origin !== endpoint.origin || isUnder(address, endpoint)) return undefined;
  return new URL(`${endpoint.origin}${pathOf(endpoint)}${address.pathname}${address.search}`);
}

/** The Hub that mirrors pass on. */
const HUB = "https://huggingface.co";

/**
 * Headers whose `Link`s are whole addresses, written as is usual, for readers that know no others. They lead to the endpoint
 * also where they are relative, lack its path, or name the Hub behind a mirror.
 * @param from where the answer is from
 */
export function withWholeLinks(headers: Headers, from: URL, { endpoint }: HubAccess): Headers {
  const links = headers.get("link");
  if (links === null) return headers;
  const home = new URL(endpoint);
  const whole = new Headers(headers);
  const link = (text: string): string => {
    const own = text.startsWith(`${HUB}/`) ? endpoint + text.slice(HUB.length) : text;
    if (!URL.canParse(own, from)) return text;
    const address = new URL(own, from);
    return (underEndpoint(address, home) ?? address).href;
  };
  const resolved = links.replace(/<([^>]*)>/g, (_, text: string) => `<${link(text)}>`);
  whole.set("link", resolved.replace(/>;\s*rel="?([^",;\s]+)"?/g, '>; rel="$1"'));
  return whole;
}
