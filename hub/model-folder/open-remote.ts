// Opens a model on the Hub without downloading it: only config.json, the index, headers and the tensors that are read
// are fetched. This is meant for inspecting a model. To run a model, pull it first.

import { basename, join } from "node:path";
import { formatRepoName, type HubAccess, type RepoName } from "../access/repository.ts";
import { type Pulled, type PullOptions, pull } from "../pull/index.ts";
import { filesOfCommit, type OpenableFile } from "../pull/repo-files.ts";
import type { ContextOptions } from "../request/context.ts";
import {
  INDEX_FILE,
  openSafetensorsSource,
  openSharded,
  type ShardFormat,
  SINGLE_FILE,
  type TensorFile,
} from "../safetensors/index.ts";
import { ModelError } from "./layer-tensors.ts";
import { asReal, CONFIG_FILE, type OpenModel, openModel, readConfig, TRAINABLE_FILE } from "./open-model.ts";

/**
 * Opens a model on the Hub. Weights that are complete in the cache are opened there. The caller closes the tensors.
 * @returns undefined for a repository without safetensors files, which must be pulled to be opened
 * @throws HubError, and errors of openModel
 */
export async function openRemoteModel(
  repo: RepoName,
  access: HubAccess,
  options: ContextOptions = {},
): Promise<OpenModel | undefined> {
  const { folder, commit } = await pullSmallFiles(repo, access, options);
  const files = (await filesOfCommit({ repo, commit }, access, options)) ?? [];
  const weights = files.filter(({ path }) => /^model(-\d+-of-\d+)?\.safetensors$/.test(path));
  const cached = await Promise.all(weights.map((file) => file.isCached()));
  if (weights.length > 0 && cached.every((whole) => whole)) return openModel(folder);
  const path = [SINGLE_FILE, INDEX_FILE, TRAINABLE_FILE].find((name) => files.some((file) => file.path === name));
  if (path === undefined) return undefined;
  const config = await readConfig(join(folder, CONFIG_FILE), true);
  const format = remoteShards(files, repo);
  const stored: TensorFile =
    path === INDEX_FILE ? await openSharded(join(folder, path), format) : await format.open(path);
  const file = `${formatRepoName(repo)}/${path}`;
  const tensors = config ? asReal(stored, { config, file }) : stored;
  return { path: file, tensors, ...(config && { config }) };
}

async function pullSmallFiles(repo: RepoName, access: HubAccess, options: ContextOptions): Promise<Pulled> {
  const { signal, patience, onRetry } = options;
  const include = [CONFIG_FILE, INDEX_FILE];
  const pulling: PullOptions = { include, signal, patience };
  for await (const event of pull(repo, access, pulling)) {
    if (event.kind === "retrying") onRetry?.(event);
    if (event.kind === "pulled") return event;
  }
  throw new ModelError("the pull ended early", { file: formatRepoName(repo) });
}

function remoteShards(files: readonly OpenableFile[], repo: RepoName): ShardFormat {
  const open = async (path: string) => {
    const name = basename(path);
    const called = `${formatRepoName(repo)}/${name}`;
    const file = files.find((each) => each.path === name);
    if (!file) throw new ModelError("does not exist, although the index names it", { file: called });
    return openSafetensorsSource(await file.open(), called);
  };
  return { suffix: ".safetensors", open };
}
