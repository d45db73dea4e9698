// Checkpoints of vision models that are not whole, or not what they seem: each is refused in one line, by the name that
// the tensor has in the checkpoint, and nothing is left behind.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { openCheckpoint } from "../../../hub/checkpoint/index.ts";
import type { StoredTensor } from "../../../hub/safetensors/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { importReference } from "../../../workbench/models/reference/index.ts";
import { hasTorch } from "../../architectures/vision.ts";
import { bytesOf, push } from "../../hub/checkpoint/build.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { PATIENCE } from "../../python/python.ts";
import { checkpointOf } from "../tiny-checkpoint.ts";
import { askGaudi, RESNET, VIT } from "./gaudi.ts";

const at = temporaryFolder();
const [TRUE, FALSE] = [0x88, 0x89];

type Tensors = Map<string, StoredTensor>;
const whole: Record<string, Tensors> = {};

const zeros = (...shape: number[]): StoredTensor => ({
  dtype: "F32",
  shape,
  data: new Float32Array(shape.reduce((product, side) => product * side, 1)),
});

interface Case {
  of: "vit" | "each" | "all";
  change: (tensors: Tensors) => void;
  /** whether hyper-parameters say that all positions of a kernel share their masks */
  unified?: boolean;
  says: RegExp;
}

const without = (name: string) => (tensors: Tensors) => void tensors.delete(`model.${name}`);
const withTensor = (name: string, tensor: StoredTensor) => (tensors: Tensors) =>
  void tensors.set(`model.${name}`, tensor);

const CASES: Record<string, Case> = {
  "lacks the output side of a layer": {
    of: "vit",
    change: without("blocks.1.attn.k_proj.lr_weight2"),
    says: /: tensor "blocks\.1\.attn\.k_proj\.lr_weight2": is missing$/,
  },
  "lacks widths": {
    of: "vit",
    change: without("blocks.0.mlp.fc1.widths"),
    says: /: layer "blocks\.0\.mlp\.fc1": widths \(2, 24\) is missing$/,
  },
  "lacks a bias that its other layers have": {
    of: "vit",
    change: without("blocks.1.attn.v_proj.bias"),
    says: /: tensor "blocks\.1\.attn\.v_proj\.bias": is missing, must be \(24\)$/,
  },
  "lacks its head": { of: "vit", change: without("head.bias"), says: /: tensor "head\.bias": is missing$/ },
  "has a layer of another width": {
    of: "vit",
    change: withTensor("blocks.0.mlp.fc2.lr_weight1", zeros(24, 1, 41)),
    says: /: tensor "blocks\.0\.mlp\.fc2": must have n_in × n_out = 40 × 24, has n_in × n_out = 41 × 24$/,
  },
  "has locations that do not fit its widths": {
    of: "vit",
    change: withTensor("blocks.0.attn.q_proj.locations", zeros(2, 23)),
    says: /: layer "blocks\.0\.attn\.q_proj": locations must be \(2, 24\), is F32 \(2, 23\)$/,
  },
  "has positions that are no square": {
    of: "vit",
    change: withTensor("pos_embed", zeros(1, 19, 24)),
    says: /: tensor "pos_embed": has 19 positions, which are not those of a square of patches and a class token$/,
  },
  "has a token for distillation": {
    of: "vit",
    change: withTensor("dist_token", zeros(1, 1, 24)),
    says: /: tensor "dist_token": is no parameter of this vit; /,
  },
  "has a block with a number out of all proportion": {
    of: "vit",
    change: withTensor("blocks.99999999999.norm1.weight", zeros(24)),
    says: /: tensor "blocks\.2\.norm1\.weight": is missing, must be \(24\)$/,
  },
  "lacks one position of a kernel": {
    of: "each",
    change: (tensors) => {
      for (const name of [...tensors.keys()])
        if (name.includes("layer1.0.conv2.gaudi_modules.4.")) tensors.delete(name);
    },
    says: /: tensor "layer1\.0\.conv2\.gaudi_modules\.4\.weight": is missing, must be \(8, 8\)$/,
  },
  "has a kernel with a tenth position": {
    of: "each",
    change: (tensors) => {
      for (const [name, tensor] of [...tensors]) {
        if (name.includes("layer1.0.conv2.gaudi_modules.4.")) tensors.set(name.replace("s.4.", "s.9."), tensor);
      }
    },
    says: /: tensor "layer1\.0\.conv2\.gaudi_modules\.9\.\w+": is no parameter of this resnet; /,
  },
  "has a kernel that is one matrix too": {
    of: "each",
    change: (tensors) => {
      for (const [name, tensor] of [...tensors]) {
        const part = /^(model\.layer1\.0\.conv2)\.gaudi_modules\.0\.(.*)$/.exec(name);
        if (part) tensors.set(`${part[1]}.${part[2]}`, tensor);
      }
    },
    says: /: tensor "layer1\.0\.conv2": must have n_in × n_out = 72 × 8, has n_in × n_out = 8 × 8$/,
  },
  "has one parameter twice": {
    of: "all",
    change: withTensor("layer1.0.conv1.widths", zeros(2, 8)),
    says: /: tensor "model\.layer1\.0\.conv1\.widths": has the name "layer1\.0\.conv1\.widths", which another tensor has too$/,
  },
  "has a bottleneck": {
    of: "all",
    change: withTensor("layer1.0.conv3.weight", zeros(8, 8, 1, 1)),
    says: /: tensor "layer1\.0\.conv3\.weight": is no parameter of this resnet; /,
  },
  "has a stem of another width": {
    of: "all",
    change: withTensor("conv1.weight", zeros(32, 3, 7, 7)),
    says: /: tensor "conv1\.weight": must be float \(64, 3, 7, 7\), is F32 \(32, 3, 7, 7\)$/,
  },
  "lacks running statistics": {
    of: "all",
    change: without("layer2.0.bn1.running_var"),
    says: /: tensor "layer2\.0\.bn1\.running_var": is missing, must be \(12\)$/,
  },
  "has a width that is no number": {
    of: "each",
    change: (tensors) => {
      const { data } = tensors.get("model.layer2.0.conv1.gaudi_modules.3.widths") as StoredTensor;
      (data as Float32Array)[2] = Number.NaN;
    },
    says: /: tensor "model\.layer2\.0\.conv1\.gaudi_modules\.3\.widths": value 2 is not finite$/,
  },
  "may share masks among the positions of a kernel": {
    of: "each",
    change: () => {},
    unified: true,
    says: /: unified_mask is true: /,
  },
};

describe.skipIf(!hasTorch)("a checkpoint of a vision model", () => {
  beforeAll(async () => {
    await openEngine({ engine: "wasm" });
    const asked = { vit: VIT, each: RESNET, all: { ...RESNET, convolutions: "all" as const } };
    await askGaudi(Object.fromEntries(Object.entries(asked).map(([name, setup]) => [at(`${name}.ckpt`), setup])));
    for (const name of Object.keys(asked)) {
      const checkpoint = await openCheckpoint(at(`${name}.ckpt`));
      whole[name] = new Map();
      for (const stored of checkpoint.tensors.keys()) whole[name].set(stored, await checkpoint.read(stored));
      await checkpoint.close();
    }
    mkdirSync(at("out"));
  }, PATIENCE);

  const converting = async (file: string, out: string) => {
    for await (const _ of importReference(file, { out, heads: 3 }));
  };

  for (const [what, { of, change, unified = false, says }] of Object.entries(CASES)) {
    test(`that ${what} is refused in one line, and leaves nothing behind`, async () => {
      const file = at(`${what.replaceAll(/\W+/g, "-")}.ckpt`);
      const tensors = structuredClone(whole[of] as Tensors);
      change(tensors);
      const hyper = push.dict({ no_gaussian: bytesOf(TRUE), unified_mask: bytesOf(unified ? TRUE : FALSE) });
      writeFileSync(file, checkpointOf(tensors, hyper));
      const error = await converting(file, at("out", "model")).then(
        () => undefined,
        (error: Error) => error,
      );
      expect(error?.message).toStartWith(`${file}: `);
      expect(error?.message).toMatch(says);
      expect(error?.message).not.toContain("\n");
      expect(readdirSync(at("out"))).toEqual([]);
    });
  }

  test("that is whole is none of these", async () => {
    for (const of of ["vit", "each", "all"]) {
      writeFileSync(at("whole.ckpt"), checkpointOf(whole[of] as Tensors, push.dict({ no_gaussian: bytesOf(TRUE) })));
      await converting(at("whole.ckpt"), at("whole", of));
      expect(readdirSync(at("whole", of))).toContain("trainable.safetensors");
    }
  });
});
