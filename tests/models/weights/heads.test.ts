// Heads that scripts put on networks: in a Sequential, beside the network, of several layers, of another width, or none.
// A head that fits is recognized wherever it is. Any other is refused in one line that names the flag to use.

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { StoredTensor } from "../../../hub/safetensors/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import type { Model } from "../../../workbench/models/index.ts";
import { HeadProblem, type Recognized, recognizeFile } from "../../../workbench/models/weights/index.ts";
import {
  logitsOf,
  RESNET_BOTTLENECKS,
  RESNET_TRANSFORMERS,
  smallMixer,
  smallResnet,
  smallVit,
  someImages,
  VIT_TRANSFORMERS,
} from "../../architectures/small-vision.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { livelier, tinyGpt2 } from "../tiny.ts";
import { importedTo, writtenWeights } from "./weights-files.ts";

const at = temporaryFolder();

beforeAll(async () => {
  await openEngine();
});

type Options = Parameters<typeof importedTo>[2];

/** A file of the model's tensors, each renamed; those without a name are left out. */
const weightsOf = (
  model: Model,
  rename: (name: string) => string | undefined,
  more: Record<string, StoredTensor> = {},
): Promise<string> =>
  writtenWeights(model, at(), {
    change: (tensors) => {
      const named = [...tensors].map(([name, tensor]) => [rename(name), tensor] as const);
      const kept = named.filter((each): each is [string, StoredTensor] => each[0] !== undefined);
      return new Map([...kept, ...Object.entries(more)]);
    },
  });

const imported = (file: string, options: Options = {}): Promise<Recognized> => importedTo(at("model"), file, options);

const zeros = (...shape: number[]): StoredTensor => {
  return { dtype: "F32", shape, data: new Float32Array(shape.reduce((product, side) => product * side, 1)) };
};

interface Family {
  make: () => Model;
  size: number;
  /** the head's name in the file */
  head: string;
  /** components before the head */
  width: number;
  options?: Options;
}

const FAMILIES: Record<string, Family> = {
  resnet: { make: () => smallResnet() as Model, size: 24, head: "fc", width: 12 },
  "resnet of bottlenecks": { make: () => smallResnet(RESNET_BOTTLENECKS) as Model, size: 24, head: "fc", width: 24 },
  "resnet of Hugging Face": {
    make: () => smallResnet(RESNET_TRANSFORMERS) as Model,
    ...{ size: 24, head: "classifier.1", width: 12 },
  },
  vit: { make: () => smallVit() as Model, size: 16, head: "head", width: 24, options: { heads: 3 } },
  "vit of Hugging Face": {
    make: () => smallVit(VIT_TRANSFORMERS) as Model,
    ...{ size: 16, head: "classifier", width: 24, options: { heads: 3 } },
  },
  mixer: { make: () => smallMixer() as Model, size: 16, head: "head", width: 24 },
};

for (const [name, { make, size, head, width, options = {} }] of Object.entries(FAMILIES)) {
  describe(name, () => {
    const model = () => make();
    const isHead = (stored: string) => stored.startsWith(`${head}.`);
    const outer = head.replace(/\..*$/, "");

    async function expectSameLogits(file: string): Promise<void> {
      const images = someImages(2, size);
      const own = await loadModelNow(at("source"));
      const found = await imported(file, options);
      expect(found.isHeadless).toBe(false);
      const back = await loadModelNow(at("model"));
      expect(await logitsOf(back, images)).toEqual(await logitsOf(own, images));
      for (const each of [own, back, images]) each.dispose();
    }

    test.each(["0.", "1.", "linear.", "1.0."])("a lone linear layer at %s in the head is the head", async (inner) => {
      const place = (stored: string) => `${outer}.${inner}${stored.slice(head.length + 1)}`;
      await expectSameLogits(await weightsOf(model(), (stored) => (isHead(stored) ? place(stored) : stored)));
    });

    test.each([
      ["backbone.", "classifier."],
      ["module.backbone.", "module.fc.1."],
      ["state_dict.model.net.", "state_dict.model.head."],
    ])("a network in %s has its head beside it, in %s", async (prefix, beside) => {
      const renamed = (stored: string) =>
        isHead(stored) ? beside + stored.slice(head.length + 1) : `${prefix}${stored}`;
      await expectSameLogits(await weightsOf(model(), renamed));
    });

    test("a network without a head becomes a folder without one, to which a new head is given", async () => {
      const file = await weightsOf(model(), (stored) => (isHead(stored) ? undefined : `model.${stored}`));
      const found = await imported(file, options);
      expect(found.isHeadless).toBe(true);
      const config = JSON.parse(readFileSync(at("model", "config.json"), "utf8"));
      if ("architecture" in config)
        expect(config).toMatchObject({ num_classes: 0, pretrained_cfg: { num_classes: 0 } });
      else expect([config.architectures[0], config.id2label]).toEqual([expect.stringMatching(/^\w+Model$/), undefined]);
      await expect(loadModelNow(at("model"))).rejects.toThrow(/num_classes is 0: .*--new-head|"classifier.*is missing/);
      const loaded = await loadModelNow(at("model"), { head: { classes: ["a", "b"], seed: 3 } });
      const images = someImages(1, size);
      expect(await logitsOf(loaded, images)).toHaveLength(2);
      const whole = await loadModelNow(at("source"), { head: { classes: ["a", "b"], seed: 3 } });
      expect(await logitsOf(loaded, images)).toEqual(await logitsOf(whole, images));
      for (const each of [loaded, whole, images]) each.dispose();
    });

    const WRONG: [string, Record<string, StoredTensor>, RegExp][] = [
      [
        "of several layers",
        { [`${outer}.0.weight`]: zeros(7, width), [`${outer}.0.bias`]: zeros(7), [`${outer}.3.weight`]: zeros(5, 7) },
        /has a head of 2 layers, \w+\.0, \w+\.3, instead of one; leave the head out with --drop-head$/,
      ],
      [
        "of another width",
        { [`${head}.weight`]: zeros(5, 7), [`${head}.bias`]: zeros(5) },
        /is a head of shape \(5, 7\), but the network before it needs \(5, \d+\); leave the head out with --drop-head$/,
      ],
      [
        "without a bias",
        { [`${head}.weight`]: zeros(5, width) },
        /\.bias": is missing, so the head is no linear layer with a bias; leave the head out with --drop-head$/,
      ],
    ];
    test.each(WRONG)("a head %s is refused, and left out on request", async (_, more, message) => {
      const file = await weightsOf(model(), (stored) => (isHead(stored) ? undefined : stored), more);
      const refusal = recognizeFile(file, options);
      await expect(refusal).rejects.toBeInstanceOf(HeadProblem);
      await expect(refusal).rejects.toThrow(message);
      const found = await imported(file, { ...options, dropHead: true });
      expect({ isHeadless: found.isHeadless, others: found.others.toSorted() }).toEqual({
        isHeadless: true,
        others: Object.keys(more).toSorted(),
      });
      const loaded = await loadModelNow(at("model"), { head: { classes: ["a", "b", "c"] } });
      expect(await logitsOf(loaded, someImages(1, size))).toHaveLength(3);
      loaded.dispose();
    });
  });
}

describe("gpt2", () => {
  const model = () => livelier(tinyGpt2()) as Model;

  test("without a head has its embeddings as one", async () => {
    const { config, others } = await imported(await weightsOf(model(), (name) => name), { heads: 2 });
    expect({ tied: config.tie_word_embeddings, others }).toEqual({ tied: true, others: [] });
  });

  test("with a head for other tasks is refused, and left out on request", async () => {
    const file = await weightsOf(model(), (name) => name, { "score.weight": zeros(2, 16) });
    await expect(recognizeFile(file, { heads: 2 })).rejects.toThrow(
      '"score.weight": is a head for another task than text generation; leave the head out with --drop-head',
    );
    const { others } = await imported(file, { heads: 2, dropHead: true });
    expect(others).toEqual(["score.weight"]);
  });

  test("with a head of another width is refused", async () => {
    const file = await weightsOf(model(), (name) => name, { "lm_head.weight": zeros(40, 17) });
    await expect(recognizeFile(file, { heads: 2 })).rejects.toThrow(
      '"lm_head.weight": is a head of shape (40, 17), but the network before it needs (40, 16); leave the head out',
    );
    expect((await imported(file, { heads: 2, dropHead: true })).config.tie_word_embeddings).toBe(true);
  });
});
