// `/api/…/preupload/<branch>` tells which files are large; `/api/…/commit/<branch>` makes one commit from lines of
// JSON. Lines are read one at a time; contents are stored as they arrive, and the commit is made after the last line.

import { z } from "zod";
import { quote } from "../../files/file-error.ts";
import { blobHash, type HubFile, isLarge, pointerOid } from "../store/commit-object.ts";
import { checkPath, isRefName } from "../store/names.ts";
import { HubRefusal } from "../store/refusal.ts";
import { writeCommit } from "../store/write-commit.ts";
import { requireWriter } from "./permissions.ts";
import { checked, type HubReply, json, parseJson, readJson } from "./reply.ts";
import { type RepoRequest, splitRevision } from "./repo-request.ts";

const MOST_FILES = 50_000;
const PREUPLOAD = z.object({
  files: z
    .array(z.object({ path: z.string(), size: z.number().int().min(0), sample: z.string().default("") }))
    .max(MOST_FILES),
});

/** Tells for each file whether it is sent by LFS or in the commit. */
export async function preupload(request: RepoRequest): Promise<HubReply> {
  refusePullRequest(request);
  const { commit } = await splitRevision(request.repository, request.rest);
  const { files } = await readJson(request, PREUPLOAD);
  const known = new Map(commit.files.map((file) => [file.path, file]));
  const answers = files.map(({ path, size, sample }) => ({
    path: checkPath(path),
    uploadMode: isLarge({ path, size, sample: Buffer.from(sample, "base64") }) ? "lfs" : "regular",
    shouldIgnore: false,
    ...(known.has(path) && { oid: known.get(path)?.oid }),
  }));
  return json({ files: answers, commitOid: commit.id });
}

const HEADER = z.object({
  summary: z.string().max(1000),
  description: z.string().max(65_536).nullish(),
  parentCommit: z.string().max(100).nullish(),
});
const LINE = z.discriminatedUnion("key", [
  z.object({ key: z.literal("header"), value: HEADER }),
  z.object({
    key: z.literal("file"),
    value: z.object({ path: z.string(), content: z.string(), encoding: z.enum(["utf-8", "base64"]).default("utf-8") }),
  }),
  z.object({
    key: z.literal("lfsFile"),
    value: z.object({
      path: z.string(),
      algo: z.literal("sha256").default("sha256"),
      oid: z.string().regex(/^[0-9a-f]{64}$/, "a SHA-256 in hexadecimal"),
      size: z.number().int().min(0),
    }),
  }),
  z.object({ key: z.literal("deletedFile"), value: z.object({ path: z.string() }) }),
  z.object({ key: z.literal("deletedFolder"), value: z.object({ path: z.string() }) }),
]);
type Operation = Exclude<z.infer<typeof LINE>, { key: "header" }>;
type Change = (files: Map<string, HubFile>) => void;

/**
 * Makes a commit.
 * @throws {HubRefusal} 400, 404, 409, 412 or 413
 */
export async function commit(request: RepoRequest): Promise<HubReply> {
  refusePullRequest(request);
  const { repository, rest, base } = request;
  const branch = rest.join("/").replace(/^refs\/heads\//, "");
  if (!isRefName(branch)) throw new HubRefusal(400, `${quote(branch)} cannot be a branch`);
  let header: z.infer<typeof HEADER> | undefined;
  const changes: Change[] = [];
  for await (const line of lines(request.body)) {
    const operation = checked(parseJson(line), LINE);
    if ((operation.key === "header") === (header !== undefined)) {
      throw new HubRefusal(400, "the first line of a commit must be its header, and no other line may be");
    }
    if (operation.key === "header") header = operation.value;
    else if (changes.push(await changeOf(request, operation)) > MOST_FILES) {
      throw new HubRefusal(413, `a commit has at most ${MOST_FILES} files`);
    }
  }
  if (!header) throw new HubRefusal(400, "the body is empty; the first line of a commit must be its header");
  const made = await writeCommit(repository, {
    branch,
    title: header.summary.replace(/\s+/g, " ").trim() || "Commit",
    message: header.description ?? "",
    author: requireWriter(request.caller).user,
    parent: header.parentCommit ?? undefined,
    change: (files) => {
      for (const change of changes) change(files);
    },
  });
  const place = `${repository.type === "model" ? "" : "datasets/"}${repository.id}`;
  return json({ success: true, commitOid: made.id, commitUrl: `${base}/${place}/commit/${made.id}`, hookOutput: "" });
}

async function changeOf(request: RepoRequest, { key, value }: Operation): Promise<Change> {
  const path = checkPath(key === "deletedFolder" ? value.path.replace(/\/+$/, "") : value.path);
  switch (key) {
    case "file": {
      const file = await smallFile(request, { ...value, path });
      return (files) => void files.set(path, file);
    }
    case "lfsFile": {
      const content = { sha256: value.oid, size: value.size };
      const kept = (await request.store.objects.has(content)) || (await hasContent(request, content.sha256));
      if (!kept)
        throw new HubRefusal(400, `the content of ${quote(path)} was not uploaded; upload it and commit again`);
      return (files) => void files.set(path, { path, ...content, oid: pointerOid(content), large: true });
    }
    case "deletedFile":
      return (files) => {
        if (!files.delete(path))
          throw new HubRefusal(404, `there is no file ${quote(path)} to delete`, "EntryNotFound");
      };
    case "deletedFolder":
      return (files) => {
        const within = [...files.keys()].filter((file) => file.startsWith(`${path}/`));
        if (within.length === 0)
          throw new HubRefusal(404, `there is no folder ${quote(path)} to delete`, "EntryNotFound");
        for (const file of within) files.delete(file);
      };
  }
}

/** Stores a content that is part of the request. */
export async function smallFile(
  { store }: Pick<RepoRequest, "store">,
  { path, content, encoding }: { path: string; content: string; encoding: "utf-8" | "base64" },
): Promise<HubFile> {
  if (encoding === "base64" && !/^[A-Za-z0-9+/]*={0,2}$/.test(content)) {
    throw new HubRefusal(400, `the content of ${quote(path)} is not base64`);
  }
  const bytes = Buffer.from(content, encoding === "base64" ? "base64" : "utf8");
  const oid = blobHash(bytes.length).update(bytes).digest("hex");
  return { path, ...(await store.objects.add(bytes)), oid, large: false };
}

async function hasContent({ repository }: RepoRequest, sha256: string): Promise<boolean> {
  return (await repository.main()).files.some((file) => file.sha256 === sha256);
}

function refusePullRequest(request: RepoRequest): void {
  if (request.query.has("create_pr")) noPullRequests();
}

/** Refuses pull requests and discussions. */
export function noPullRequests(): never {
  throw new HubRefusal(403, "a local Hub does not support pull requests or discussions; commit to a branch");
}

/** Longest line, in bytes. A line may contain a small file in base64. */
const LONGEST_LINE = 32 * 2 ** 20;
const NEWLINE = 10;

/** Yields the lines of a body that are not empty. */
async function* lines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let held: Uint8Array[] = [];
  let size = 0;
  const take = () => {
    const line = Buffer.concat(held).toString("utf8").trim();
    held = [];
    size = 0;
    return line;
  };
  for await (const bytes of body) {
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      held.push(bytes.subarray(start, end));
      const line = take();
      if (line !== "") yield line;
      start = end + 1;
    }
    held.push(bytes.subarray(start));
    size += bytes.length - start;
    if (size > LONGEST_LINE)
      throw new HubRefusal(413, `a line is longer than ${LONGEST_LINE} bytes; send large files by LFS`);
  }
  const line = take();
  if (line !== "") yield line;
}
