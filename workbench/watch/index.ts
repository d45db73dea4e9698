// Shows runs in the browser while they are written. app.ts has the routes, followed-run.ts reads the files. This file joins
// them and listens.

import { isLoopback } from "../../hub/serve/index.ts";
import { type Listening, listen } from "../web/listen.ts";
import { createWatchApp } from "./app.ts";

export { ServeError } from "../web/listen.ts";

/** Options of a server. */
export interface WatchOptions {
  /** folders of the runs; they need not exist yet */
  runs: readonly string[];
  /** address to listen on. Default 127.0.0.1 */
  host?: string;
  /** 0, the default, takes any free port */
  port?: number;
  /** the key that requests need. Default: none */
  key?: string | undefined;
  /** whether only requests to a loopback name are answered. Default false */
  loopbackOnly?: boolean;
  /** time between looks at the files, milliseconds. Default 1000 */
  interval?: number;
  /** called with an error that no client caused */
  onFault?: (error: unknown) => void;
}

/** Starts a server that shows runs. @throws ServeError if the address cannot be used */
export async function serveRuns(options: WatchOptions): Promise<Listening> {
  const {
    runs,
    host = "127.0.0.1",
    port = 0,
    key,
    loopbackOnly = false,
    interval = 1000,
    onFault = () => {},
  } = options;
  const ended = new AbortController();
  const isHost = loopbackOnly ? isLoopback : undefined;
  const app = createWatchApp({ runs, key, isHost, interval, signal: ended.signal, onFault });
  const server = await listen(app.fetch, { host, port });
  return {
    url: server.url,
    close() {
      ended.abort();
      return server.close();
    },
  };
}
