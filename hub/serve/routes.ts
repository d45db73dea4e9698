// Maps addresses to handlers. Names of repositories and of actions are in the same path, so repositories must not
// have the name of an action (store/names.ts).

import type { RepoType } from "../access/repository.ts";
import { commit, noPullRequests, preupload } from "./api/commit.ts";
import { listRepositories, repositoryInfo } from "./api/info.ts";
import {
  createBranch,
  createTag,
  deleteBranch,
  deleteTag,
  listCommits,
  listRefs,
  superSquash,
} from "./api/references.ts";
import { type HubReply, type HubRequest, json, text } from "./api/reply.ts";
import { openForWriting, openRepository, type RepoAddress, type RepoRequest } from "./api/repo-request.ts";
import { changeSettings, create, remove } from "./api/repositories.ts";
import { rawFile, resolveFile } from "./api/resolve.ts";
import { listTree, pathsInfo } from "./api/tree.ts";
import {
  batch,
  complete,
  type TransferSettings,
  upload,
  uploadShard,
  uploadXorb,
  xetHasNone,
  xetWriteToken,
} from "./api/uploads.ts";
import { whoAmI } from "./api/who-am-i.ts";
import type { HubStore } from "./store/hub-store.ts";
import { HubRefusal } from "./store/refusal.ts";

type RepoHandler = (request: RepoRequest) => Promise<HubReply>;
type Method = "GET" | "POST" | "PUT" | "DELETE";

/** Handlers of `/api/<type>/<id>/<action>/…`, by action and method. `writes` marks those that change the repository. */
const ACTIONS = new Map<string, Partial<Record<Method, { run: RepoHandler; writes?: true }>>>(
  Object.entries({
    "": { GET: { run: repositoryInfo } },
    revision: { GET: { run: repositoryInfo } },
    tree: { GET: { run: listTree } },
    "paths-info": { POST: { run: pathsInfo } },
    preupload: { POST: { run: preupload, writes: true } },
    commit: { POST: { run: commit, writes: true } },
    branch: { POST: { run: createBranch, writes: true }, DELETE: { run: deleteBranch, writes: true } },
    tag: { POST: { run: createTag, writes: true }, DELETE: { run: deleteTag, writes: true } },
    "super-squash": { POST: { run: superSquash, writes: true } },
    "xet-write-token": { GET: { run: xetWriteToken, writes: true } },
    discussions: { GET: { run: noPullRequests }, POST: { run: noPullRequests, writes: true } },
    settings: { PUT: { run: changeSettings, writes: true } },
    refs: { GET: { run: listRefs } },
    commits: { GET: { run: listCommits } },
  }),
);

const TYPES = new Map<string, RepoType>([
  ["models", "model"],
  ["datasets", "dataset"],
]);

interface RouteSettings {
  store: HubStore;
  transfers: TransferSettings;
}

/** Answers a request. @throws {HubRefusal} 404, 405 for unknown addresses and methods; the handler's errors */
export async function route(request: HubRequest, settings: RouteSettings): Promise<HubReply> {
  const [first = "", ...rest] = request.segments;
  if (first === "" && rest.length === 0) return text("A local Hub. Lists: /api/models and /api/datasets\n");
  if (first === "api") return routeApi(request, settings, rest);
  if (first === "datasets") return routeFiles(request, settings, { type: "dataset", segments: rest });
  return routeFiles(request, settings, { type: "model", segments: request.segments });
}

async function routeApi(request: HubRequest, settings: RouteSettings, segments: string[]): Promise<HubReply> {
  const { store, transfers } = settings;
  const [area = "", ...rest] = segments;
  const type = TYPES.get(area);
  if (type && rest.length === 0) return allow(request, { GET: () => listRepositories(request, store, type) });
  if (type) {
    const { id, action, rest: args } = splitId(rest, (name) => ACTIONS.has(name));
    const handlers = ACTIONS.get(action);
    if (!handlers || id === "") throw notHere();
    return allow(
      request,
      Object.fromEntries(
        Object.entries(handlers).map(([method, { run, writes }]) => [
          method,
          async () => run(await (writes ? openForWriting : openRepository)(request, store, { type, id, rest: args })),
        ]),
      ),
    );
  }
  switch (segments.join("/")) {
    case "whoami-v2":
      return allow(request, { GET: async () => whoAmI(request) });
    case "repos/create":
      return allow(request, { POST: () => create(request, store) });
    case "repos/delete":
      return allow(request, { DELETE: () => remove(request, store) });
    case "validate-yaml":
      return allow(request, { POST: async () => json({ errors: [], warnings: [] }) });
  }
  if (area === "lfs" && rest.length === 2 && rest[0] === "upload") {
    const [PUT, POST] = [() => upload(request, store, transfers), () => complete(request, store, transfers)];
    return allow(request, { PUT, POST });
  }
  if (area === "xet") return routeXet(request, store, rest);
  if (area === "telemetry") return { status: 204 };
  throw notHere();
}

/** `/api/xet/<day>/…`: the addresses of Xet's content store. */
function routeXet(request: HubRequest, store: HubStore, [day = "", ...rest]: string[]): Promise<HubReply> {
  const [version, what, , hash = ""] = rest;
  if (version === "v1" && what === "xorbs") {
    return allow(request, { POST: () => uploadXorb(request, store, day, hash) });
  }
  if (version === "v1" && what === "shards") return allow(request, { POST: () => uploadShard(request, store, day) });
  return xetHasNone();
}

async function routeFiles(
  request: HubRequest,
  { store, transfers }: RouteSettings,
  { type, segments }: { type: RepoType; segments: string[] },
): Promise<HubReply> {
  const lfs = /^(.+)\.git\/info\/lfs\/objects\/batch$/.exec(segments.join("/"));
  if (lfs) {
    const address: RepoAddress = { type, id: lfs[1] as string, rest: [] };
    return allow(request, { POST: async () => batch(await openForWriting(request, store, address), transfers) });
  }
  const { id, action, rest } = splitId(segments, (name) => name === "resolve" || name === "raw");
  const handler = action === "resolve" ? resolveFile : action === "raw" ? rawFile : undefined;
  if (!handler || rest.length === 0) throw notHere();
  const address: RepoAddress = { type, id, rest };
  return allow(request, { GET: async () => handler(await openRepository(request, store, address)) });
}

/**
 * Splits a path into repository, action and the rest. The id of the repository has one segment if the second segment is
 * an action, otherwise two.
 */
function splitId(
  segments: string[],
  isAction: (name: string) => boolean,
): { id: string; action: string; rest: string[] } {
  const length = segments.length === 1 || isAction(segments[1] ?? "") ? 1 : 2;
  return { id: segments.slice(0, length).join("/"), action: segments[length] ?? "", rest: segments.slice(length + 1) };
}

/** Runs the handler of the request's method. HEAD is GET without the body. */
function allow(request: HubRequest, handlers: Partial<Record<Method, () => Promise<HubReply>>>): Promise<HubReply> {
  const method = request.method === "HEAD" ? "GET" : request.method;
  const handler = Object.hasOwn(handlers, method) ? handlers[method as Method] : undefined;
  if (handler) return handler();
  throw new HubRefusal(405, `this address accepts ${Object.keys(handlers).join(" or ")} only`);
}

function notHere(): HubRefusal {
  return new HubRefusal(404, "a local Hub has nothing at this address");
}
