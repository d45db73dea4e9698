// The free permutations of MLP-Mixer: the hidden units of both kinds of MLPs, and the channels of the residual stream. The
// order of patches is not free, because no parameter before the first block could put them in another one.

import { hiddenUnits, type Places, type Symmetry } from "../symmetry.ts";
import type { MixerConfig } from "./config.ts";

/**
 * Hidden units, and the residual stream. The MLPs across patches are not members of the stream, because they are
 * applied to each channel in the same way.
 */
export function mixerSymmetries({ blocks, width, tokenWidth, channelWidth }: MixerConfig, places: Places): Symmetry[] {
  const names = Array.from({ length: blocks }, (_, i) => `blocks.${i}`);
  const streams = names.flatMap((block) => [
    ...["norm1", "norm2"].flatMap((norm) => places.last(`${block}.${norm}`)),
    ...places.inputs(`${block}.mlp_channels.fc1`),
    ...places.outputs(`${block}.mlp_channels.fc2`),
  ]);
  const between = (mlp: string, size: number) => hiddenUnits(places, { from: [`${mlp}.fc1`], to: `${mlp}.fc2`, size });
  const ends = [...places.last("stem.proj"), ...places.last("norm"), ...places.inputs("head")];
  return [
    ...names.flatMap((block) => [
      between(`${block}.mlp_tokens`, tokenWidth),
      between(`${block}.mlp_channels`, channelWidth),
    ]),
    { name: "residual stream", kind: "stream", size: width, members: [...ends, ...streams] },
  ];
}
