// Vision models in training: what drops and when, statistics of batches, a few steps that lower the loss, and runs that
// are resumed with their running statistics.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { dropPath, dropper } from "../../workbench/architectures/parts/dropout.ts";
import { convert, planConversion } from "../../workbench/compress/index.ts";
import { crossEntropy } from "../../workbench/engine/ops/index.ts";
import { valueAndGradients } from "../../workbench/engine/tfjs/tape.ts";
import { classifierLogits, type Model } from "../../workbench/models/index.ts";
import { fit, type Task } from "../../workbench/train/index.ts";
import { MIXER, RESNET, smallMixer, smallResnet, smallVit, someImages, VIT } from "../architectures/small-vision.ts";
import { forEachEngine } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { taken } from "./tiny.ts";

const folder = temporaryFolder();

const dropping = (settings: { model_args: object }, args: object) => ({
  ...settings,
  model_args: { ...settings.model_args, ...args },
});

const DROPPING: Record<string, () => Model> = {
  "drop path of a ViT": () => smallVit(dropping(VIT, { drop_path_rate: 0.5 })) as Model,
  "dropout everywhere in a ViT": () =>
    smallVit(dropping(VIT, { drop_rate: 0.2, pos_drop_rate: 0.2, proj_drop_rate: 0.2, attn_drop_rate: 0.2 })) as Model,
  "drop path of a ResNet": () => smallResnet(dropping(RESNET, { drop_path_rate: 0.5 })) as Model,
  "dropout and drop path of a Mixer": () =>
    smallMixer(dropping(MIXER, { drop_path_rate: 0.3, proj_drop_rate: 0.2, drop_rate: 0.2 })) as Model,
};

forEachEngine("training of vision models", (_, { label, name: engine }) => {
  for (const [name, make] of Object.entries(DROPPING)) {
    test(`${name}: a seed decides, and only in training`, async () => {
      const model = make();
      const images = someImages(8, name.includes("ResNet") ? 24 : 16);
      const logits = (options: object) => taken(tf.tidy(() => classifierLogits(model, images, options)));
      const plain = await logits({ training: true });
      const [first, again, other] = [
        await logits({ training: true, seed: 1 }),
        await logits({ training: true, seed: 1 }),
        await logits({ training: true, seed: 2 }),
      ];
      expect(again).toEqual(first);
      expect(other).not.toEqual(first);
      expect(first).not.toEqual(plain);
      expect(await logits({ seed: 1 })).toEqual(await logits({}));
      images.dispose();
      model.dispose();
    });
  }

  test("a path is dropped for whole images, and the others scaled so that the mean stays", async () => {
    const x = tf.ones([4000, 2, 3]);
    const y = (await taken(tf.tidy(() => dropPath(x, { drop: dropper(5), rate: 0.25 })))) as Float32Array;
    for (let image = 0; image < 4000; image++) {
      expect(new Set(y.subarray(6 * image, 6 * image + 6)).size).toBe(1);
    }
    const kept = y.filter((value) => value !== 0);
    expect(Math.abs((kept[0] as number) - 4 / 3)).toBeLessThan(1e-6);
    // Four deviations of a share of 0.75 of 4000.
    expect(Math.abs(kept.length / y.length - 0.75)).toBeLessThan(4 * Math.sqrt((0.75 * 0.25) / 4000));
    x.dispose();
  });

  test("evaluation leaves running statistics alone, training moves them a tenth of the way", async () => {
    const model = smallResnet() as Model;
    const images = someImages(3, 24);
    const read = async (part: string) => [...(await model.parameter(`bn1.${part}`).data())];
    const before = { mean: await read("running_mean"), variance: await read("running_var") };
    tf.dispose(tf.tidy(() => classifierLogits(model, images)));
    expect({ mean: await read("running_mean"), variance: await read("running_var") }).toEqual(before);
    const { mean, variance } = tf.tidy(() => tf.moments(model.convolution("conv1", images), [0, 1, 2]));
    tf.dispose(tf.tidy(() => classifierLogits(model, images, { training: true })));
    const [means, variances] = [await taken(mean), await taken(variance)];
    const count = 3 * 12 * 12;
    for (const [i, value] of (await read("running_mean")).entries()) {
      expect(value).toBeCloseTo(0.9 * (before.mean[i] as number) + 0.1 * (means[i] as number), 5);
    }
    for (const [i, value] of (await read("running_var")).entries()) {
      const unbiased = ((variances[i] as number) * count) / (count - 1);
      expect(value).toBeCloseTo(0.9 * (before.variance[i] as number) + 0.1 * unbiased, 5);
    }
    images.dispose();
    model.dispose();
  });

  test("gradients that free as they go are tf.variableGrads', and leave no tensor behind", async () => {
    for (const [model, size] of [
      [smallResnet() as Model, 24],
      [smallVit(dropping(VIT, { drop_path_rate: 0.5 })) as Model, 16],
    ] as const) {
      const images = someImages(3, size);
      const labels = tf.tensor1d([0, 1, 2], "int32");
      const loss = () =>
        tf.mean(crossEntropy(classifierLogits(model, images, { training: true, seed: 3 }), labels)) as tf.Scalar;
      const variables = [...model.parameters.values()].filter(({ trainable }) => trainable);
      const before = tf.memory().numTensors;
      const { value, gradients } = valueAndGradients(loss, variables);
      expect(tf.memory().numTensors).toBe(before + 1 + gradients.size);
      expect(gradients.size).toBe(variables.length);
      const expected = tf.variableGrads(loss, variables);
      expect(await value.data()).toEqual(await expected.value.data());
      for (const [variable, gradient] of gradients) {
        expect(await taken(gradient)).toEqual((await expected.grads[variable.name]?.data()) as Float32Array);
      }
      tf.dispose([value, expected.value, ...Object.values(expected.grads), images, labels]);
      model.dispose();
    }
  });

  for (const [name, make] of Object.entries({ vit: smallVit, resnet: smallResnet, mixer: smallMixer })) {
    // Convolutions in plain JavaScript take seconds.
    test.skipIf(engine === "cpu")(
      `a run of a converted ${name} lowers its loss, and a resumed one is the run that was not stopped`,
      async () => {
        const size = name === "resnet" ? 24 : 16;
        const model = async () => {
          const made = make() as Model;
          const plan = await planConversion(made, { structure: "gblr", budget: 0.6 });
          for await (const event of convert(made, plan)) if (event.kind === "converted") return made;
          throw new Error("the conversion did not end");
        };
        const task = (of: Model): Task => ({
          length: 8,
          unit: { name: "images", perItem: 1 },
          settings: {},
          read: async (items) => ({
            images: tf.tidy(() => tf.gather(someImages(8, size), [...items])),
            labels: tf.tensor1d(
              items.map((item) => item % 5),
              "int32",
            ),
          }),
          loss: ({ images, labels }, { seed }) => {
            const logits = classifierLogits(of, images as tf.Tensor4D, { training: true, seed });
            return tf.mean(crossEntropy(logits, labels as tf.Tensor)) as tf.Scalar;
          },
        });
        const run = async (of: Model, where: string, at = Number.POSITIVE_INFINITY) => {
          const stop = new AbortController();
          const losses: number[] = [];
          const options = {
            model: of,
            task: task(of),
            folder: folder(label.replace(/\W+/g, "-"), name, where),
            batch: 4,
            seed: 6,
            length: { steps: 8 },
            optimizer: { learningRate: 0.01 },
            signal: stop.signal,
          };
          for await (const event of fit(options)) {
            if (event.kind === "step") losses.push(event.loss);
            if (event.kind === "step" && event.step === at) stop.abort();
          }
          return losses;
        };
        const values = async (of: Model) =>
          Promise.all(Array.from(of.parameters, async ([each, variable]) => [each, [...(await variable.data())]]));
        const whole = await model();
        const losses = await run(whole, "whole");
        expect(losses.at(-1)).toBeLessThan(losses[0] as number);
        const [stopped, resumed] = [await model(), await model()];
        await run(stopped, "stopped", 3);
        await run(resumed, "stopped");
        expect(await values(resumed)).toEqual(await values(whole));
        for (const each of [whole, stopped, resumed]) each.dispose();
      },
    );
  }
});
