// Requests to the server of the page, with the key if the server has one, and answers that come as server-sent events.

const KEY = "gblr-key";

/** A request that the server refused, or that did not reach it. */
export class RequestFailed extends Error {
  /** @param {number} status 0 if there was no answer @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** Whether the server wants a key, or another one. */
  get needsKey() {
    return this.status === 401;
  }
}

/** Keeps the key until the tab is closed. @param {string} key */
export const keepKey = (key) => sessionStorage.setItem(KEY, key);

/** @returns {Record<string, string>} */
function headersOf() {
  const key = sessionStorage.getItem(KEY);
  return key === null ? {} : { Authorization: `Bearer ${key}` };
}

/**
 * Sends a request; with a body it is a POST of JSON.
 * @param {string} path
 * @param {{ body?: object, signal?: AbortSignal }} [options]
 * @returns {Promise<Response>}
 * @throws {RequestFailed} with the message of the server
 */
export async function request(path, { body, signal } = {}) {
  const sent = body && { method: "POST", body: JSON.stringify(body) };
  const headers = { ...headersOf(), ...(body && { "Content-Type": "application/json" }) };
  const response = await fetch(path, { ...sent, headers, signal: signal ?? null }).catch((error) => {
    if (signal?.aborted) throw error;
    throw new RequestFailed(0, "the server does not answer; is it still running?");
  });
  if (response.ok) return response;
  const told = await response.json().catch(() => undefined);
  throw new RequestFailed(
    response.status,
    told?.error?.message ?? `the server answered with status ${response.status}`,
  );
}

/** Reads JSON. @param {string} path @param {AbortSignal} [signal] */
export const readJson = async (path, signal) => (await request(path, signal === undefined ? {} : { signal })).json();

/**
 * The data of server-sent events, parsed. `[DONE]`, which comes before the end, is left out.
 * @param {Response} response
 * @returns {AsyncGenerator<any>}
 */
export async function* eventsOf(response) {
  if (!response.body) return;
  let text = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      const events = (text + read.value).split("\n\n");
      text = events.pop() ?? "";
      for (const data of events.flatMap(dataOf)) {
        if (data !== "[DONE]") yield JSON.parse(data);
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Lines that begin with a colon are signs of life. @param {string} event @returns {string[]} */
function dataOf(event) {
  const lines = event.split("\n").filter((line) => line.startsWith("data:"));
  return lines.length > 0 ? [lines.map((line) => line.slice(5).trimStart()).join("\n")] : [];
}
