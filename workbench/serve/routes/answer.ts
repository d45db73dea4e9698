// Sends an answer: as one JSON document, or in pieces as server-sent events.

import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { apiErrorOf, FAILED } from "../protocol/errors.ts";
import type { AppEnv, Visit } from "../service.ts";

/**
 * Sends pieces as events, one after the other, and then `[DONE]`. An error on the way is an event, because the status has
 * been sent. The visit ends with the answer, or when the client goes away.
 * @param onFault called with an error that the client did not cause
 */
export function sendPieces(
  c: Context<AppEnv>,
  visit: Visit,
  { pieces, onFault }: { pieces: AsyncIterable<object>; onFault: (error: unknown) => void },
): Response {
  let finish = () => {};
  c.set("finished", new Promise((resolve) => (finish = resolve)));
  return streamSSE(c, async (stream) => {
    stream.onAbort(() => visit.end());
    const send = (data: object | string) =>
      stream.writeSSE({ data: typeof data === "string" ? data : JSON.stringify(data) });
    try {
      for await (const piece of pieces) {
        if (stream.aborted) break;
        await send(piece);
      }
      await send("[DONE]");
    } catch (error) {
      const known = apiErrorOf(error);
      if (!known) onFault(error);
      // Nobody hears it if the client is gone.
      await send((known ?? FAILED).body);
    } finally {
      visit.end();
      finish();
    }
  });
}
