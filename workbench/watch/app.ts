// The web application of `gblr watch`: the page, and the events of the runs as server-sent events. Every connection
// follows the files for itself, so that the server keeps nothing of a run.

import { setTimeout as sleep } from "node:timers/promises";
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { secureHeaders } from "hono/secure-headers";
import { type SSEStreamingApi, streamSSE } from "hono/streaming";
import { ofHost, withKey } from "../web/access.ts";
import { ApiError, sendError } from "../web/api-error.ts";
import { addPage, isPageFile } from "../web/page-files.ts";
import { FollowedRun, type RunEvent } from "./followed-run.ts";

/** A message to the page. The first one names the runs; `run` is an index into that list. */
export type WatchEvent = { kind: "runs"; runs: readonly string[] } | (RunEvent & { run: number });

export interface WatchAppOptions {
  /** folders of the runs, in the order of the page */
  runs: readonly string[];
  /** the key that requests need. Default: none */
  key?: string | undefined;
  /** whether a `Host` is accepted. Default: any */
  isHost?: ((host: string) => boolean) | undefined;
  /** time between looks at the files, milliseconds */
  interval: number;
  /** ends all connections */
  signal: AbortSignal;
  /** called with an error that no client caused */
  onFault: (error: unknown) => void;
}

/** Connections at the same time. Each reads the files of all runs. */
const MOST_CONNECTIONS = 32;
/** time after which a connection without events gets a sign of life, milliseconds */
const SIGN_OF_LIFE = 15_000;

/** Makes the application. */
export function createWatchApp({ runs, key, isHost, interval, signal, onFault }: WatchAppOptions): Hono {
  const app = new Hono();
  app.use(secureHeaders());
  if (isHost) app.use(ofHost(isHost));
  if (key !== undefined) app.use(withKey(key, isPageFile));
  let connections = 0;
  app.get("/events", (c) => {
    if (connections >= MOST_CONNECTIONS) throw new ApiError(429, "too many pages are open; close one and try again");
    connections++;
    return streamSSE(c, async (stream) => {
      const gone = new AbortController();
      stream.onAbort(() => gone.abort());
      try {
        await sendEvents(stream, watchRuns(runs, { signal: AbortSignal.any([signal, gone.signal]), interval }));
      } catch (error) {
        if (!gone.signal.aborted) onFault(error);
      } finally {
        connections--;
      }
    });
  });
  addPage(app, { title: "gblr watch", folder: "watch" });
  app.notFound((c) => sendError(c, new ApiError(404, `there is no ${c.req.method} ${c.req.path}`)));
  app.onError((error, c) => {
    if (error instanceof ApiError) return sendError(c, error);
    if (!(error instanceof HTTPException)) onFault(error);
    return sendError(c, new ApiError(500, "the server failed to answer this request"));
  });
  return app;
}

async function sendEvents(stream: SSEStreamingApi, events: AsyncIterable<WatchEvent>): Promise<void> {
  const alive = setInterval(() => void stream.write(": \n\n"), SIGN_OF_LIFE);
  try {
    for await (const event of events) await stream.writeSSE({ data: JSON.stringify(event) });
  } finally {
    clearInterval(alive);
  }
}

/** What happens to the runs, from their first line on until the signal. */
async function* watchRuns(
  folders: readonly string[],
  { signal, interval }: { signal: AbortSignal; interval: number },
): AsyncGenerator<WatchEvent> {
  yield { kind: "runs", runs: folders };
  const followed = folders.map((folder) => new FollowedRun(folder));
  while (!signal.aborted) {
    for (const [run, each] of followed.entries()) {
      for (const event of await each.look()) yield { run, ...event };
    }
    if (followed.some(({ hasMore }) => hasMore)) continue;
    await sleep(interval, undefined, { signal }).catch(() => {});
  }
}
