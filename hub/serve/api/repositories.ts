// `/api/repos/create`, `/api/repos/delete` and `/api/…/settings`: creates and deletes repositories, and sets their
// visibility.

import { z } from "zod";
import { quote } from "../../files/file-error.ts";
import type { HubFile } from "../store/commit-object.ts";
import { createRepository, deleteRepository, type HubStore } from "../store/hub-store.ts";
import { checkPath, isRepoPart } from "../store/names.ts";
import { HubRefusal } from "../store/refusal.ts";
import { MAIN } from "../store/repository.ts";
import { writeCommit } from "../store/write-commit.ts";
import { smallFile } from "./commit.ts";
import { basicInfo } from "./info.ts";
import { noRepository, requireWriter } from "./permissions.ts";
import { type HubReply, type HubRequest, json, readJson } from "./reply.ts";
import type { RepoRequest } from "./repo-request.ts";

const NAMED = z.object({
  name: z.string(),
  organization: z.string().nullish(),
  type: z.enum(["model", "dataset"], "a local Hub has models and datasets").nullish(),
});
const VISIBILITY = z.object({
  private: z.boolean().nullish(),
  visibility: z.enum(["public", "private"], "a repository is public or private").nullish(),
});
const CREATION = NAMED.extend(VISIBILITY.shape).extend({
  license: z.string().max(100).nullish(),
  files: z
    .array(z.object({ path: z.string(), content: z.string(), encoding: z.enum(["utf-8", "base64"]).default("utf-8") }))
    .max(1000)
    .nullish(),
});

/**
 * Creates a repository.
 * @throws {HubRefusal} 409 if it exists
 */
export async function create(request: HubRequest, store: HubStore): Promise<HubReply> {
  const { user } = requireWriter(request.caller);
  const body = await readJson(request, CREATION);
  const { type, id } = nameOf(body, user);
  const place = `${request.base}/${type === "model" ? "" : "datasets/"}${id}`;
  const files: HubFile[] = [];
  for (const file of body.files ?? []) files.push(await smallFile({ store }, { ...file, path: checkPath(file.path) }));
  const repository = await createRepository(store, { type, id, private: isPrivate(body) ?? false });
  if (!repository) return json({ error: `${id} is there already`, url: place }, { status: 409 });
  if (body.license && !files.some(({ path }) => path === "README.md")) {
    const content = `---\nlicense: ${JSON.stringify(body.license)}\n---\n`;
    files.push(await smallFile({ store }, { path: "README.md", content, encoding: "utf-8" }));
  }
  if (files.length > 0) {
    await writeCommit(repository, {
      branch: MAIN,
      title: "First files",
      message: "",
      author: user,
      change: (there) => {
        for (const file of files) there.set(file.path, file);
      },
    });
  }
  const { _id } = basicInfo(repository, await repository.settings(), "");
  return json({ url: place, name: id, id: _id });
}

/**
 * Deletes a repository.
 * @throws {HubRefusal} if it does not exist or the caller may not write
 */
export async function remove(request: HubRequest, store: HubStore): Promise<HubReply> {
  const { user } = requireWriter(request.caller);
  const { type, id } = nameOf(await readJson(request, NAMED), user);
  if (!(await deleteRepository(store, { type, id }))) throw noRepository(id, request.caller);
  return json({});
}

const SETTINGS = VISIBILITY.extend({ gated: z.union([z.literal(false), z.enum(["auto", "manual"])]).nullish() });

/** Changes the visibility of a repository, and whether it is gated. */
export async function changeSettings(request: RepoRequest): Promise<HubReply> {
  const body = await readJson(request, SETTINGS);
  const { repository } = request;
  return repository.exclusively(async () => {
    const before = await repository.settings();
    const after = { private: isPrivate(body) ?? before.private, gated: body.gated ?? before.gated };
    await repository.records.writeSettings(after);
    return json(after);
  });
}

function isPrivate(body: z.infer<typeof VISIBILITY>): boolean | undefined {
  if (body.visibility) return body.visibility === "private";
  return body.private ?? undefined;
}

/**
 * Type and id of a repository in a request. Without an owner, it belongs to the caller. Python's client may send owner
 * and name together in `name`.
 */
function nameOf(
  { name, organization, type }: z.infer<typeof NAMED>,
  user: string,
): { type: "model" | "dataset"; id: string } {
  const [owner = "", ...rest] = name.includes("/") ? name.split("/") : [organization ?? user, name];
  const [last = ""] = rest;
  if (rest.length !== 1 || !isRepoPart(owner) || !isRepoPart(last)) {
    throw new HubRefusal(
      400,
      `${quote(`${owner}/${rest.join("/")}`)} cannot be a repository: owner and name have up to 96 letters, digits, "-", "_" and "."`,
    );
  }
  return { type: type ?? "model", id: `${owner}/${last}` };
}
