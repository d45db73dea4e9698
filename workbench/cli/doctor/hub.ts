// Where the Hugging Face Hub is for this user, and whether a token is set: the variables and files that Python's
// huggingface_hub reads. Reads settings only; nothing is asked of the Hub.

import { existsSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Environment } from "../terminal.ts";
import type { HubSettings } from "./report.ts";

const ENDPOINT = "https://huggingface.co";

export function inspectHub(environment: Environment): HubSettings {
  const cache = environment.XDG_CACHE_HOME || path.join(os.homedir(), ".cache");
  const home = environment.HF_HOME || path.join(cache, "huggingface");
  return { endpoint: withoutPassword(environment.HF_ENDPOINT || ENDPOINT), token: findToken(environment, home), home };
}

function findToken(environment: Environment, home: string): HubSettings["token"] {
  if (environment.HF_TOKEN) return { set: true, source: "HF_TOKEN" };
  const file = environment.HF_TOKEN_PATH || path.join(home, "token");
  return existsSync(file) ? { set: true, source: file } : { set: false };
}

/** An endpoint behind a proxy may carry a user and password; a report gets pasted into bug reports. */
function withoutPassword(endpoint: string): string {
  return endpoint.replace(/^(\w+:\/\/)[^/@]*@/, "$1");
}
