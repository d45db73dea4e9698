// What is random in training: where crops are, how often what is done, that all policies are whole, and what is mixed.

import { describe, expect, test } from "bun:test";
import { colorJitter } from "../../../workbench/data/images/augment/color.ts";
import { erase } from "../../../workbench/data/images/augment/mix-and-erase.ts";
import type { AugmentContext } from "../../../workbench/data/images/augment/operations.ts";
import { autoAugment, POLICIES, randAugment } from "../../../workbench/data/images/augment/policies.ts";
import { randomBox, randomPaddedCrop } from "../../../workbench/data/images/crop.ts";
import { drawMix } from "../../../workbench/data/images/index.ts";
import { blank, mirror, type Pixels } from "../../../workbench/data/images/pixels.ts";
import { RandomStream } from "../../../workbench/data/random.ts";

/** Every pixel another color. */
function numbered(width: number, height: number): Pixels {
  const image = blank(width, height);
  for (let i = 0; i < width * height; i++) image.data.set([1 + (i % 200), 1 + Math.floor(i / 200), 77], 3 * i);
  return image;
}

const meanOf = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const contextOf = (seed: number): AugmentContext => ({
  random: new RandomStream(seed),
  interpolation: "random",
  fill: [10, 20, 30],
});

describe("numbers of a seed", () => {
  test("have the moments of their distributions", () => {
    const random = new RandomStream(3);
    const many = (draw: () => number) => Array.from({ length: 20_000 }, draw);
    const normal = many(() => random.normal());
    expect(Math.abs(meanOf(normal))).toBeLessThan(0.03);
    expect(meanOf(normal.map((x) => x * x))).toBeCloseTo(1, 1);
    for (const alpha of [0.2, 0.8, 1, 4]) {
      const beta = many(() => random.beta(alpha));
      expect(Math.min(...beta)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...beta)).toBeLessThanOrEqual(1);
      const mean = meanOf(beta);
      expect(mean).toBeCloseTo(0.5, 1);
      const variance = meanOf(beta.map((x) => (x - mean) ** 2));
      expect(Math.abs(variance * 4 * (2 * alpha + 1) - 1)).toBeLessThan(0.06);
    }
    const integers = many(() => random.integer(2, 5));
    for (const value of [2, 3, 4, 5]) expect(integers.filter((x) => x === value).length).toBeGreaterThan(4_700);
    expect(random.order(9).sort()).toEqual([...Array(9).keys()]);
  });
});

describe("a crop", () => {
  test("is within the image, of the area and shape that are set", () => {
    const random = new RandomStream(1);
    const settings = { scale: [0.08, 1], ratio: [3 / 4, 4 / 3] } as const;
    const areas: number[] = [];
    for (let i = 0; i < 4000; i++) {
      const { left, top, width, height } = randomBox({ width: 300, height: 200 }, settings, random);
      expect(left >= 0 && top >= 0 && left + width <= 300 && top + height <= 200).toBe(true);
      expect(width / height).toBeGreaterThan(0.72);
      expect(width / height).toBeLessThan(1.39);
      areas.push((width * height) / 60_000);
    }
    expect(Math.min(...areas)).toBeGreaterThan(0.075);
    expect(Math.max(...areas)).toBeGreaterThan(0.8);
  });

  test("of an image that is too long is its middle", () => {
    const settings = { scale: [1, 1], ratio: [3 / 4, 4 / 3] } as const;
    const random = new RandomStream(1);
    expect(randomBox({ width: 900, height: 90 }, settings, random)).toEqual({
      left: 390,
      top: 0,
      width: 120,
      height: 90,
    });
    expect(randomBox({ width: 1, height: 50 }, settings, random)).toEqual({ left: 0, top: 24, width: 1, height: 1 });
  });

  test("with a border is the image moved by up to the border, black where nothing was", () => {
    const image = numbered(8, 8);
    const seen = new Set<string>();
    for (let seed = 0; seed < 400; seed++) {
      const moved = randomPaddedCrop(image, { size: 8, padding: 2 }, new RandomStream(seed));
      const at = (x: number, y: number) => [...moved.data.subarray(3 * (8 * y + x), 3 * (8 * y + x) + 3)];
      // The middle pixel tells by how much.
      const index = (at(4, 4)[0] as number) - 1 + 200 * ((at(4, 4)[1] as number) - 1);
      const [dx, dy] = [(index % 8) - 4, Math.floor(index / 8) - 4];
      seen.add(`${dx},${dy}`);
      for (let y = 0; y < 8; y++) {
        for (let x = 0; x < 8; x++) {
          const [fromX, fromY] = [x + dx, y + dy];
          const inside = fromX >= 0 && fromX < 8 && fromY >= 0 && fromY < 8;
          const from = 3 * (8 * fromY + fromX);
          expect(at(x, y)).toEqual(inside ? [...image.data.subarray(from, from + 3)] : [0, 0, 0]);
        }
      }
    }
    expect(seen.size).toBe(25);
  });

  test("mirrored twice is the image, mirrored once another", () => {
    for (const width of [7, 8]) {
      const image = numbered(width, 3);
      const before = Uint8Array.from(image.data);
      mirror(image);
      expect(image.data.subarray(0, 3)).toEqual(before.subarray(3 * (width - 1), 3 * width));
      mirror(image);
      expect(image.data).toEqual(before);
    }
  });
});

describe("augmentation", () => {
  const image = () => numbered(24, 20);

  test("by every pair of both policies, by RandAugment of both kinds and by jitter keeps the size and is the seed's", () => {
    expect([POLICIES.imagenet.length, POLICIES.cifar10.length]).toEqual([25, 25]);
    const changes: ((seed: number) => Pixels)[] = [
      (seed) => autoAugment(image(), "imagenet", contextOf(seed)),
      (seed) => autoAugment(image(), "cifar10", contextOf(seed)),
      (seed) => randAugment(image(), {}, contextOf(seed)),
      (seed) => randAugment(image(), { increasing: true, operations: 3, deviation: 0 }, contextOf(seed)),
      (seed) =>
        colorJitter(image(), { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }, new RandomStream(seed)),
    ];
    for (const change of changes) {
      const results = Array.from({ length: 200 }, (_, seed) => change(seed));
      for (const [seed, { width, height, data }] of results.entries()) {
        expect([width, height, data.length]).toEqual([24, 20, 24 * 20 * 3]);
        if (seed < 5) expect(change(seed).data).toEqual(data);
      }
      expect(new Set(results.map(({ data }) => data.join())).size).toBeGreaterThan(30);
    }
  });

  test("by RandAugment does each operation half of the time, unless told otherwise", () => {
    const original = image().data.join();
    const changed = (probability: number) =>
      Array.from({ length: 300 }, (_, seed) =>
        randAugment(image(), { operations: 1, probability }, contextOf(seed)),
      ).filter(({ data }) => data.join() !== original).length;
    expect(changed(0)).toBe(0);
    expect(changed(1)).toBeGreaterThan(220);
    expect(changed(0.5)).toBeGreaterThan(90);
    expect(changed(0.5)).toBeLessThan(180);
  });
});

describe("erasing", () => {
  test("makes one rectangle of the area that is set noise or the mean, as often as is set", () => {
    const size = 32;
    let erased = 0;
    for (let seed = 0; seed < 400; seed++) {
      const pixels = new Float32Array(size * size * 3).fill(9);
      erase(pixels, { size, probability: 0.25, fill: seed % 2 ? "constant" : "pixel" }, new RandomStream(seed));
      const hit = [...pixels.keys()].filter((i) => pixels[i] !== 9).map((i) => Math.floor(i / 3));
      if (hit.length === 0) continue;
      erased++;
      const [xs, ys] = [hit.map((i) => i % size), hit.map((i) => Math.floor(i / size))];
      const [width, height] = [xs, ys].map((places) => Math.max(...places) - Math.min(...places) + 1) as [
        number,
        number,
      ];
      expect(hit.length).toBe(3 * width * height);
      const share = (width * height) / (size * size);
      expect(share).toBeGreaterThan(0.01);
      expect(share).toBeLessThan(0.37);
      const inside = [...pixels].filter((value) => value !== 9);
      if (seed % 2) expect(inside.every((value) => value === 0)).toBe(true);
      else expect(Math.abs(meanOf(inside))).toBeLessThan(5 / Math.sqrt(inside.length));
    }
    expect(Math.abs(erased - 100)).toBeLessThan(30);
  });
});

describe("mixing", () => {
  test("is off, mixup, cutmix or either, and as often as is set", () => {
    const kinds = (settings: Parameters<typeof drawMix>[0]) => {
      const drawn = Array.from({ length: 400 }, (_, seed) => drawMix(settings, { size: 16, seed })?.kind ?? "none");
      return Object.fromEntries(
        ["none", "mixup", "cutmix"].map((kind) => [kind, drawn.filter((x) => x === kind).length]),
      );
    };
    expect(kinds({})).toEqual({ none: 400, mixup: 0, cutmix: 0 });
    expect(kinds({ mixup: 0.8 })).toEqual({ none: 0, mixup: 400, cutmix: 0 });
    expect(kinds({ cutmix: 1 })).toEqual({ none: 0, mixup: 0, cutmix: 400 });
    const both = kinds({ mixup: 0.8, cutmix: 1, probability: 0.5, switching: 0.25 });
    expect(Math.abs((both.none as number) - 200)).toBeLessThan(50);
    expect(Math.abs((both.cutmix as number) - 50)).toBeLessThan(30);
  });

  test("of cutmix has the share that its box leaves", () => {
    for (let seed = 0; seed < 300; seed++) {
      const mix = drawMix({ cutmix: 1 }, { size: 20, seed });
      if (mix?.kind !== "cutmix") throw new Error("no cutmix");
      const { top, bottom, left, right } = mix.box;
      expect(0 <= top && top <= bottom && bottom <= 20 && 0 <= left && left <= right && right <= 20).toBe(true);
      expect(mix.share).toBeCloseTo(1 - ((bottom - top) * (right - left)) / 400, 12);
    }
  });
});
