// An architecture defined outside of the workbench, in one file: a language model that sees one token at a time. The
// token's embedding, an MLP beside it, and the embedding again as the head.

import { add, type Tensor2D, type Tensor3D, tidy } from "@tensorflow/tfjs-core";
import { z } from "zod";
import type { Architecture } from "../../workbench/architectures/architecture.ts";
import { linearLayer, normal, parameter, ZEROS } from "../../workbench/architectures/network.ts";
import { checked, count } from "../../workbench/architectures/parts/config-fields.ts";
import type { LanguageOptions, LayerSource } from "../../workbench/architectures/task.ts";
import { embedding } from "../../workbench/engine/ops/index.ts";

interface BigramConfig {
  vocabulary: number;
  width: number;
  inner: number;
  positions: number;
}

const FIELDS = z.object({ vocab_size: count, width: count, inner: count, positions: count });

export const bigram: Architecture<BigramConfig> = {
  type: "bigram",
  title: "Bigram",
  readConfig(json, file) {
    const { vocab_size: vocabulary, width, inner, positions } = checked(FIELDS, json, file);
    return { vocabulary, width, inner, positions };
  },
  network({ vocabulary, width, inner, positions: rows }) {
    const sizes = { layout: "out_in", rows, start: normal(0.3), bias: ZEROS } as const;
    return [
      parameter("embed.weight", [vocabulary, width], normal(0.3)),
      linearLayer({ name: "mlp.fc1", nIn: width, nOut: inner, ...sizes }),
      linearLayer({ name: "mlp.fc2", nIn: inner, nOut: width, ...sizes }),
      { parts: [{ name: "head", multiplyAdds: rows * width * vocabulary, in: "actual" }] },
    ];
  },
  task: {
    kind: "text-generation",
    sizes: ({ vocabulary, width, positions }) => ({ vocabulary, width, positions, endOfText: [] }),
    hidden,
    head: (model) => model.parameter("embed.weight") as unknown as Tensor2D,
  },
  weights: {
    recognizes: (tensors) => tensors.has("embed.weight") && tensors.has("mlp.fc1.weight"),
    config({ tensors }) {
      const [vocab_size, width] = tensors.get("embed.weight")?.shape ?? [];
      return { model_type: "bigram", vocab_size, width, inner: tensors.get("mlp.fc1.bias")?.shape[0], positions: 12 };
    },
  },
  python: {
    module: "bigram",
    source: `"""A language model that sees one token at a time."""

from torch import nn
from torch.nn import functional

from gblr_build import Network


class Bigram(Network):
    kind = "bigram"

    def __init__(self, fields, layers):
        super().__init__()
        width, inner = fields["width"], fields["inner"]
        self.embed = nn.Embedding(fields["vocab_size"], width)
        self.mlp = nn.ModuleDict(
            {"fc1": layers.linear("mlp.fc1", width, inner), "fc2": layers.linear("mlp.fc2", inner, width)}
        )

    def forward(self, input_ids):
        x = self.embed(input_ids)
        x = x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](x)))
        return functional.linear(x, self.embed.weight)
`,
  },
};

function hidden(model: LayerSource<BigramConfig>, ids: Tensor2D, { cache }: LanguageOptions): Tensor3D {
  return tidy(() => {
    const x = embedding(model.parameter("embed.weight"), ids);
    cache?.advance(ids.shape[1]);
    return add(x, model.linear("mlp.fc2", model.linear("mlp.fc1", x, { activation: "gelu" }))) as Tensor3D;
  });
}
