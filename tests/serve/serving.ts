// A server in this process, on a tiny model that chats in letters, for tests that send requests to it.

import { openGenerator, type TextGenerator } from "../../workbench/pipeline/generate.ts";
import { resultOf } from "../../workbench/pipeline/stage.ts";
import {
  type NamedGenerator,
  type RunningServer,
  type ServeEvent,
  type ServeOptions,
  serveModels,
} from "../../workbench/serve/index.ts";

/** A running server, and what it logged. */
export interface Serving extends RunningServer {
  events: ServeEvent[];
  generator: TextGenerator;
  /** Sends JSON. @param path e.g. /v1/completions */
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
  /** Sends JSON to /v1/completions and reads the answer. */
  complete(body: object): Promise<CompletionAnswer>;
  end(): Promise<void>;
}

/** What the tests read of an answer. */
export interface CompletionAnswer {
  model: string;
  choices: {
    index: number;
    text: string;
    finish_reason: string;
    logprobs: null | {
      tokens: string[];
      token_logprobs: (number | null)[];
      top_logprobs: (Record<string, number> | null)[];
      text_offset: number[];
    };
  }[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
  error?: { message: string; type: string; param: string | null; code: string | null };
}

/** Serves a model folder under the name `tiny`, with the engine that is open. */
export const serveFolder = (folder: string, options: Partial<ServeOptions> = {}): Promise<Serving> =>
  serveFolders({ tiny: folder }, options);

/** Serves model folders, by name. The generator that the tests see is that of the first one. */
export async function serveFolders(
  folders: Readonly<Record<string, string>>,
  options: Partial<ServeOptions> = {},
): Promise<Serving> {
  const models: NamedGenerator[] = [];
  for (const [name, folder] of Object.entries(folders)) {
    models.push({ name, generator: await resultOf(openGenerator(folder, { name }), () => {}) });
  }
  const [{ generator }] = models as [NamedGenerator];
  const events: ServeEvent[] = [];
  const log = (event: ServeEvent) => void events.push(event);
  const running = await serveModels({ models, log, ...options });
  const post = (path: string, body: unknown, init: RequestInit = {}) =>
    fetch(running.url + path, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...init,
      headers: { "Content-Type": "application/json", ...init.headers },
    });
  return {
    ...running,
    events,
    generator,
    post,
    complete: async (body) => (await (await post("/v1/completions", body)).json()) as CompletionAnswer,
    async end() {
      await running.close();
      for (const model of models) model.generator.dispose();
    },
  };
}

/** The data of server-sent events, without `[DONE]`, which must be the last. */
export async function piecesOf(response: Response): Promise<Record<string, never>[]> {
  const lines = (await response.text()).split("\n\n").filter((line) => line !== "");
  const data = lines.map((line) => line.replace(/^data: /, ""));
  if (data.pop() !== "[DONE]") throw new Error(`the stream does not end with [DONE]: ${lines.at(-1)}`);
  return data.map((each) => JSON.parse(each) as Record<string, never>);
}
