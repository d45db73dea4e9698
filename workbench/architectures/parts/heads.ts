// How many attention heads a transformer has where nothing in its checkpoint says: they leave no trace in shapes.

import { ModelError } from "../../../hub/model-folder/index.ts";

const WIDTH_OF_HEAD = 64;

/** A model that does not tell how many heads it has. */
export class HeadsUnknown extends ModelError {}

/** A head for each 64 of the width, as in GPT-2 and ViT. @throws HeadsUnknown when the width is no multiple of 64 */
export function usualHeads(width: number, file: string): number {
  if (width % WIDTH_OF_HEAD === 0) return width / WIDTH_OF_HEAD;
  const problem = `does not tell how many heads it has, and its width ${width} is no multiple of 64; say how many with --heads`;
  throw new HeadsUnknown(problem, { file });
}
