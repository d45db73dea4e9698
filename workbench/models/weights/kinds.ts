// The architectures that weights are known as by the names of their tensors, whoever's names they are. A new one is a
// line here.

import type { TensorFile, TensorInfo } from "../../../hub/safetensors/index.ts";
import type { Architecture } from "../../architectures/architecture.ts";
import { gpt2 } from "../../architectures/gpt2/architecture.ts";
import { mixer } from "../../architectures/mixer/architecture.ts";
import { resnet } from "../../architectures/resnet/architecture.ts";
import { vit } from "../../architectures/vit/architecture.ts";
import { gpt2Reader, type ReferenceReader, resnetReader, vitReader } from "../reference/index.ts";
import { mixerReader } from "./mixer.ts";

interface Kind {
  architecture: Architecture;
  /** makes a config.json of shapes */
  reader: ReferenceReader;
  /** what the reader expects before names */
  expected: string;
  /** of the tensor whose side on this axis is the width that attention heads divide */
  width?: readonly [tensor: string, axis: number];
}

const KINDS: readonly Kind[] = [
  {
    architecture: gpt2 as Architecture,
    reader: gpt2Reader,
    expected: "transformer.",
    width: ["transformer.wte.weight", 1],
  },
  { architecture: vit as Architecture, reader: vitReader, expected: "", width: ["patch_embed.proj.weight", 0] },
  { architecture: resnet as Architecture, reader: resnetReader, expected: "" },
  { architecture: mixer as Architecture, reader: mixerReader, expected: "" },
];

export interface FoundKind extends Kind {
  /** what its names in the file begin with, see Architecture.prefixes */
  prefix: string;
  /** tensors by the reader's names */
  seen: ReadonlyMap<string, TensorInfo>;
  readerName(stored: string): string;
}

/** @returns undefined for tensors of no architecture that is known */
export function findKind({ tensors }: TensorFile): FoundKind | undefined {
  for (const kind of KINDS) {
    const { architecture, reader, expected } = kind;
    for (const prefix of architecture.prefixes) {
      const readerName = (stored: string) =>
        architecture.storedName(architecture.parameterName(stored, prefix), expected);
      const seen = new Map(Array.from(tensors, ([name, info]) => [readerName(name), info]));
      if (reader.recognizes(seen)) return { ...kind, prefix, seen, readerName };
    }
  }
  return undefined;
}
