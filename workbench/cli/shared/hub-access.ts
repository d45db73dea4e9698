// Access to the Hub from the environment variables that Python's client reads: HF_ENDPOINT, HF_TOKEN (or the file that
// `hf auth login` writes), HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE. `HF_ENDPOINT=file:/dir` serves the folder as a local
// Hub.

import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { HubAccess } from "../../../hub/access/repository.ts";
import { CommandFailed } from "./program.ts";
import type { Environment } from "./terminal.ts";

interface OpenedAccess {
  access: HubAccess;
  /** stops the local Hub, if one was started */
  close(): Promise<void>;
}

const DEFAULT_ENDPOINT = "https://huggingface.co";

/** Reads the environment variables. @throws CommandFailed for an invalid endpoint or token */
async function hubAccessFrom(env: Environment): Promise<OpenedAccess> {
  const home = hubHome(env);
  const cache = expand(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, "hub"), env);
  const offline = [env.HF_HUB_OFFLINE, env.TRANSFORMERS_OFFLINE].some(isTrue);
  const endpoint = (env.HF_ENDPOINT || DEFAULT_ENDPOINT).replace(/\/+$/, "");
  const token = await tokenFrom(env, home);
  if (endpoint.startsWith("file:")) {
    if (offline) return { access: { endpoint: DEFAULT_ENDPOINT, cache, offline }, close: async () => {} };
    const { url, token, close } = await serveFolder(endpoint);
    return { access: { endpoint: url, token, cache, offline }, close };
  }
  if (!/^https?:\/\/[^/]/.test(endpoint) || !URL.canParse(endpoint)) {
    throw new CommandFailed(
      `HF_ENDPOINT is "${endpoint}"; set it to an address such as ${DEFAULT_ENDPOINT} or file:/folder`,
    );
  }
  return { access: { endpoint, token, cache, offline }, close: async () => {} };
}

/** Replaces the URL of a repository by its folder if the Hub is local, because the user cannot open the URL later. */
export type EndpointName = (url: string) => string;

/**
 * Runs an action with access to the Hub that the environment names. A local Hub is stopped afterwards.
 * @throws CommandFailed for an invalid HF_ENDPOINT or token
 */
export async function withHub<Result>(
  env: Environment,
  action: (access: HubAccess, named: EndpointName) => Promise<Result>,
): Promise<Result> {
  const { access, close } = await hubAccessFrom(env);
  try {
    return await action(access, (url) => (isLocal(env) ? folderOf(url, access, env) : url));
  } catch (error) {
    throw isLocal(env) && error instanceof Error ? inTermsOf(error, access, env) : error;
  } finally {
    await close();
  }
}

const isLocal = ({ HF_ENDPOINT }: Environment): boolean => HF_ENDPOINT?.startsWith("file:") === true;

/** The folder of a repository on a local Hub as a URL: `file:/hub/models/owner/name`. */
function folderOf(url: string, { endpoint }: HubAccess, { HF_ENDPOINT }: Environment): string {
  if (!url.startsWith(endpoint)) return url;
  const path = url.slice(endpoint.length);
  return `${HF_ENDPOINT?.replace(/\/+$/, "")}${path.startsWith("/datasets/") ? "" : "/models"}${path}`;
}

/** Replaces the address of a local Hub in an error's message by its folder. */
function inTermsOf(error: Error, { endpoint }: HubAccess, { HF_ENDPOINT }: Environment): Error {
  error.message = error.message
    .replaceAll(endpoint, HF_ENDPOINT as string)
    .replaceAll(new URL(endpoint).host, HF_ENDPOINT as string);
  return error;
}

function hubHome(env: Environment): string {
  return expand(env.HF_HOME || join(env.XDG_CACHE_HOME || join("~", ".cache"), "huggingface"), env);
}

async function serveFolder(endpoint: string) {
  const folder = endpoint.startsWith("file://") ? fileURLToPath(endpoint) : endpoint.slice("file:".length);
  if (folder === "") throw new CommandFailed('HF_ENDPOINT is "file:" without a folder; set it to file:/folder');
  // Imported here so that other Hubs do not load a server.
  const { serveHub } = await import("../../../hub/serve/index.ts");
  return serveHub({ folder });
}

async function tokenFrom(env: Environment, home: string): Promise<string | undefined> {
  const given = cleanToken(env.HF_TOKEN) ?? cleanToken(env.HUGGING_FACE_HUB_TOKEN);
  if (given) return checkToken(given, "HF_TOKEN");
  const path = expand(env.HF_TOKEN_PATH || join(home, "token"), env);
  const kept = cleanToken(await readFile(path, "utf8").catch(() => undefined));
  return kept && checkToken(kept, path);
}

function cleanToken(text: string | undefined): string | undefined {
  return text?.replace(/[\r\n]/g, "").trim() || undefined;
}

/** Checks a token here, because the runtime's error about invalid characters would print it. */
function checkToken(token: string, where: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new CommandFailed(`${where} is not a token: it has spaces or other invalid characters; copy the token again`);
}

function isTrue(text: string | undefined): boolean {
  return /^(?:1|on|yes|true)$/i.test(text ?? "");
}

/** Expands `~` and `$NAME` as Python does in these variables. */
function expand(path: string, env: Environment): string {
  const home = env.HOME || homedir();
  return path
    .replace(/^~(?=[/\\]|$)/, home)
    .replace(/\$(?:\{(\w+)\}|(\w+))/g, (text, braced?: string, bare?: string) => env[braced ?? bare ?? ""] ?? text);
}
