// `/api/models/<id>`, `/api/models/<id>/revision/<revision>` and the same for data sets: what a repository is and which
// files it has. All that there is to say is said, whatever `expand` asks for.

import { createHash } from "node:crypto";
import { type HubReply, json } from "../reply.ts";
import { type RepoRequest, splitRevision } from "../repo-request.ts";
import { type HubCommit, type HubFile, pointerText } from "../store/commit-object.ts";
import type { RepoSettings } from "../store/records.ts";
import type { Repository } from "../store/repository.ts";
import { cardFacts } from "./card.ts";

export async function repositoryInfo(request: RepoRequest): Promise<HubReply> {
  const { repository, settings, rest, query } = request;
  const { commit } = await splitRevision(repository, rest.length === 0 ? ["main"] : rest);
  const blobs = query.get("blobs") === "true" || query.get("blobs") === "1";
  return json(
    {
      ...basicInfo(repository, settings, commit.date),
      ...(await cardFacts(repository, commit)),
      sha: commit.id,
      usedStorage: commit.files.reduce((sum, { size }) => sum + size, 0),
      siblings: commit.files.map((file) => ({ rfilename: file.path, ...(blobs && sibling(file)) })),
    },
    { headers: { "X-Repo-Commit": commit.id } },
  );
}

/** What is the same at every revision. */
export function basicInfo({ type, id }: Repository, settings: RepoSettings, date: string): Record<string, unknown> {
  return {
    _id: createHash("sha1").update(`${type}/${id}`).digest("hex").slice(0, 24),
    id,
    ...(type === "model" && { modelId: id }),
    ...(id.includes("/") && { author: id.split("/")[0] }),
    private: settings.private,
    gated: settings.gated,
    disabled: false,
    downloads: 0,
    likes: 0,
    lastModified: date,
    createdAt: date,
  };
}

function sibling(file: HubFile): Record<string, unknown> {
  return { size: file.size, blobId: file.oid, ...(file.large && { lfs: largeInfo(file) }) };
}

function largeInfo(file: HubFile): Record<string, unknown> {
  return { sha256: file.sha256, oid: file.sha256, size: file.size, pointerSize: pointerText(file).length };
}

/** A file as trees and paths-info list it. */
export function treeFile(file: HubFile): Record<string, unknown> {
  const { path, size, oid } = file;
  return {
    type: "file",
    oid,
    size,
    path,
    ...(file.large && { lfs: { oid: file.sha256, size, pointerSize: pointerText(file).length } }),
  };
}

export function shownCommit({ id, title, date }: HubCommit): Record<string, unknown> {
  return { id, title, date };
}
