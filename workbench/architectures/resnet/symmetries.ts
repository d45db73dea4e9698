// The free permutations of residual networks: the channels between the convolutions of a block, and the channels of the
// residual stream. A block with a convolution on its shortcut begins a new stream.

import type { Member, Places, Symmetry } from "../symmetry.ts";
import type { ResnetConfig } from "./config.ts";
import { normOf } from "./forward.ts";

interface Stream {
  name: string;
  size: number;
  members: Member[];
}

/** Channels within blocks, and the streams between them. Batch normalizations and rectifiers act on each channel. */
export function resnetSymmetries({ stem, block: kind, stages }: ResnetConfig, places: Places): Symmetry[] {
  const written = (name: string) => [...places.outputs(name), ...places.last(normOf(name))];
  const found: Symmetry[] = [];
  const streams: Stream[] = [{ name: "stream from conv1", size: stem, members: written("conv1") }];
  const current = () => streams.at(-1) as Stream;
  const blocks = stages.flatMap((stage, i) =>
    Array.from({ length: stage.blocks }, (_, j) => ({ ...stage, name: `layer${i + 1}.${j}` })),
  );
  for (const { name, width, inner } of blocks) {
    const convolutions = kind.convolutions.map((convolution) => `${name}.${convolution.name}`);
    const [first, last] = [convolutions[0] as string, convolutions.at(-1) as string];
    for (const [i, to] of convolutions.slice(1).entries()) {
      const members = [...written(convolutions[i] as string), ...places.inputs(to)];
      found.push({ name: to, kind: "channels", size: inner, members });
    }
    const shortcut = `${name}.downsample.0`;
    current().members.push(...places.inputs(first));
    if (places.has(shortcut)) {
      current().members.push(...places.inputs(shortcut));
      streams.push({ name: `stream from ${name}`, size: width, members: written(shortcut) });
    }
    current().members.push(...written(last));
  }
  current().members.push(...places.inputs("fc"));
  return [...found, ...streams.map((stream): Symmetry => ({ kind: "stream", ...stream }))];
}
