// The block layout picture as pixels: its size, its colors against the counts, its text. Drawn by the real renderer.

import { expect, test } from "bun:test";
import { shortName, shortNames } from "../../workbench/report/layer-names.ts";
import { sparkline } from "../../workbench/report/layer-summary.ts";
import { heat, LEVELS, levelOf, PALETTE } from "../../workbench/report/pictures/colors.ts";
import { layoutPicture, panelGrid, ticksFor } from "../../workbench/report/pictures/layout-picture.ts";
import { encodePng, renderPng } from "../../workbench/report/pictures/png.ts";
import { layoutOfSpans } from "../../workbench/structures/gblr-layout.ts";
import { decodePng, luminance, type Pixels } from "./decode-png.ts";
import { overlapCounts } from "./overlap-counts.ts";

// On 8 × 6 entries two blocks in one place, which wrap, and a third across them.
const layout = layoutOfSpans(Int32Array.from([6, 6, 0, 4, 4, 5, 1, 1, 0, 3, 3, 4]), { nIn: 8, nOut: 6 });
const panel = (name: string) => ({ name, note: "43.7 %", layout });

const draw = async (panels = [panel("h.0.mlp.c_fc")], title = "model") => {
  const svg = layoutPicture({ title, subtitle: "what it is", panels });
  return { svg, pixels: decodePng(await renderPng(svg)) };
};

/** Where the panels' squares are in the drawing, px. */
function squares(svg: string): { x: number; y: number; side: number }[] {
  const images = [...svg.matchAll(/<image x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g)];
  return images
    .map(([, x, y, width, height]) => ({ x: Number(x), y: Number(y), side: Number(width), height: Number(height) }))
    .filter(({ side, height }) => side === height);
}

const hasInk = (pixels: Pixels, box: { x: number; y: number; width: number; height: number }): boolean => {
  for (let y = box.y; y < box.y + box.height; y++) {
    for (let x = box.x; x < box.x + box.width; x++) if (luminance(pixels.at(x, y)) < 0.3) return true;
  }
  return false;
};

test("the picture has two pixels for each px of the drawing", async () => {
  const { svg, pixels } = await draw();
  const [, width, height] = svg.match(/width="(\d+)" height="(\d+)"/) as RegExpMatchArray;
  expect([pixels.width, pixels.height]).toEqual([2 * Number(width), 2 * Number(height)]);
});

test("every entry of the matrix has the color of its count, and more blocks are brighter", async () => {
  const { svg, pixels } = await draw();
  const counts = overlapCounts(layout);
  const most = Math.max(...counts);
  const [square] = squares(svg) as [{ x: number; y: number; side: number }];
  const brightness = new Map<number, number>();
  for (let i = 0; i < 6; i++) {
    for (let j = 0; j < 8; j++) {
      const x = Math.round(2 * (square.x + ((j + 0.5) * square.side) / 8));
      const y = Math.round(2 * (square.y + ((i + 0.5) * square.side) / 6));
      const count = counts[i * 8 + j] as number;
      expect(pixels.at(x, y)).toEqual([
        ...(PALETTE[levelOf(count, { least: Math.min(...counts), most })] as [number, number, number]),
      ]);
      brightness.set(count, luminance(pixels.at(x, y)));
    }
  }
  const rising = [...brightness].sort(([a], [b]) => a - b).map(([, value]) => value);
  expect(rising.length).toBe(4);
  for (const [i, value] of rising.slice(1).entries()) expect(value).toBeGreaterThan((rising[i] as number) + 0.02);
});

test("text is drawn with the font of the package", async () => {
  const { svg, pixels } = await draw();
  const [{ x, y, side }] = squares(svg) as [{ x: number; y: number; side: number }];
  const twice = (box: { x: number; y: number; width: number; height: number }) =>
    Object.fromEntries(Object.entries(box).map(([key, value]) => [key, 2 * value])) as typeof box;
  expect(hasInk(pixels, twice({ x, y: y - 22, width: 90, height: 18 }))).toBe(true); // name
  expect(hasInk(pixels, twice({ x: x + side - 50, y: y - 22, width: 50, height: 18 }))).toBe(true); // share
  expect(hasInk(pixels, twice({ x, y: y + side + 2, width: side, height: 16 }))).toBe(true); // axis
});

test("names cannot break the drawing", async () => {
  const { svg } = await draw([panel('<b> & "c" \u0007')], "</svg>");
  expect(svg).toContain("&lt;b&gt; &amp; &quot;c&quot;");
  expect(svg.match(/<\/svg>/g)).toHaveLength(1);
});

test("a layer without live blocks is drawn black", async () => {
  const dead = { name: "dead", note: "0.0 %", layout: layoutOfSpans(new Int32Array(0), { nIn: 4, nOut: 4 }) };
  const { svg, pixels } = await draw([dead]);
  const [{ x, y }] = squares(svg) as [{ x: number; y: number; side: number }];
  expect(pixels.at(2 * x + 9, 2 * y + 9)).toEqual([...(PALETTE[0] as [number, number, number])]);
});

test("a larger matrix than the panel has pixels is averaged into it", async () => {
  const n = 3072;
  const half = layoutOfSpans(Int32Array.from([0, n / 2, 0, n]), { nIn: n, nOut: n });
  const { svg, pixels } = await draw([{ name: "large", note: "", layout: half }]);
  const [{ x, y, side }] = squares(svg) as [{ x: number; y: number; side: number }];
  const at = (share: number) =>
    luminance(pixels.at(Math.round(2 * (x + share * side)), Math.round(2 * (y + side / 2))));
  expect(at(0.25)).toBe(luminance(PALETTE[LEVELS - 1] as readonly number[]));
  expect(at(0.75)).toBe(luminance(PALETTE[0] as readonly number[]));
});

test("colors get brighter with every level", () => {
  expect(PALETTE).toHaveLength(LEVELS);
  const bright = PALETTE.map(luminance);
  for (let level = 1; level < LEVELS; level++) expect(bright[level]).toBeGreaterThan(bright[level - 1] as number);
  const levels = (least: number, most: number, values: number[]) =>
    values.map((value) => levelOf(value, { least, most }));
  expect(levels(0, 9, [0, 9])).toEqual([0, LEVELS - 1]);
  expect(levels(12, 18, [0, 12, 18])).toEqual([0, 51, LEVELS - 1]); // black is for no block
  expect([...levels(0, 0, [0]), ...levels(5, 5, [0, 5])]).toEqual([0, 0, LEVELS - 1]);
});

test("indexed images survive encoding and decoding", () => {
  const pixels = Uint8Array.from({ length: 5 * 7 }, (_, i) => (i * 37) % LEVELS);
  const image = decodePng(encodePng({ width: 5, height: 7, pixels, palette: PALETTE }));
  expect([image.width, image.height]).toEqual([5, 7]);
  for (const [i, level] of pixels.entries()) {
    expect(image.at(i % 5, Math.floor(i / 5))).toEqual([...(PALETTE[level] as [number, number, number])]);
  }
});

test("panels that repeat stand in whole repetitions, as large as a page allows", () => {
  const kinds = ["attn.c_attn", "mlp.c_fc", "mlp.c_proj"];
  const network = (depth: number) =>
    Array.from({ length: depth }, (_, i) => kinds.map((kind) => `h.${i}.${kind}`)).flat();
  expect(panelGrid(["fc"])).toMatchObject({ columns: 1, rows: 1 });
  expect(panelGrid(network(2))).toMatchObject({ columns: 3, rows: 2 });
  expect(panelGrid(network(12))).toMatchObject({ columns: 6, rows: 6 });
  const llama = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
  const layers = Array.from({ length: 30 }, (_, i) => llama.map((kind) => `layers.${i}.${kind}`)).flat();
  expect(panelGrid(layers)).toMatchObject({ columns: 7, rows: 30, isAligned: true });
  // Names without repetition do not get narrower squares.
  const distinct = Array.from({ length: 60 }, (_, i) => String.fromCodePoint(0x4e00 + i));
  expect(panelGrid(distinct).side).toBe(panelGrid(network(12)).side);
  const all = ["a", "b", "c", "d", "e", "f", "g"];
  for (let count = 1; count <= all.length; count++) {
    const { columns, rows } = panelGrid(all.slice(0, count));
    expect(columns * rows >= count && columns * (rows - 1) < count).toBe(true);
  }
  expect(panelGrid(network(12)).side).toBeLessThan(panelGrid(network(2)).side);
});

test("ticks run from 0 to the most without touching", () => {
  for (const most of [0, 0.4, 1, 7, 11, 92, 768]) {
    const ticks = ticksFor({ least: 0, most }, 300);
    expect(ticks[0]).toBe(0);
    expect(ticks.at(-1)).toBe(most);
    const places = ticks.map((count) => 300 * heat(count, { least: 0, most }));
    for (const [i, place] of places.slice(1).entries())
      expect(place - (places[i] as number)).toBeGreaterThanOrEqual(16);
  }
  expect(ticksFor({ least: 0, most: 92 }, 300)).toEqual([0, 2, 5, 10, 20, 50, 92]);
  expect(ticksFor({ least: 12, most: 18 }, 300)).toEqual([0, 12, 13, 14, 15, 16, 17, 18]);
  expect(ticksFor({ least: 5, most: 5 }, 300)).toEqual([0, 5]);
});

test("sparklines are as high as their bins, and empty bins are dots", () => {
  expect(sparkline([0, 1, 4, 8])).toBe("·▁▄█");
  expect(sparkline([0, 0])).toBe("··");
});

test("layouts with many blocks on every entry use the color scale from dark to bright", async () => {
  // 4 × 4 entries: three blocks on every entry, and a fourth on half of them.
  const many = layoutOfSpans(Int32Array.from([0, 0, 0, 0, 4, 4, 4, 2, 0, 0, 0, 0, 4, 4, 4, 4]), { nIn: 4, nOut: 4 });
  expect([Math.min(...overlapCounts(many)), Math.max(...overlapCounts(many))]).toEqual([3, 4]);
  const { svg, pixels } = await draw([{ name: "many", note: "", layout: many }]);
  const [{ x, y, side }] = squares(svg) as [{ x: number; y: number; side: number }];
  const at = (share: number) => [...pixels.at(Math.round(2 * (x + share * side)), Math.round(2 * (y + side / 2)))];
  expect(at(0.25)).toEqual([...(PALETTE[LEVELS - 1] as [number, number, number])]);
  expect(at(0.75)).toEqual([...(PALETTE[51] as [number, number, number])]);
});

test("names of layers stay different when they are shortened", () => {
  const parts = ["attention.attention.query", "attention.output.dense", "intermediate.dense", "output.dense"];
  const layers = Array.from({ length: 12 }, (_, i) => parts.map((part) => `vit.encoder.layer.${i}.${part}`)).flat();
  const names = [...layers, "vit.embeddings.patch_embeddings.projection", "classifier"];
  for (const length of [60, 36, 28, 22, 16]) {
    const short = shortNames(names, length);
    expect(new Set(short).size).toBe(names.length);
    expect(short.every((name) => name.length <= length)).toBe(true);
  }
  expect(shortNames(names, 28).slice(0, 4)).toEqual([
    "…0.attention.attention.query",
    "…0.attention.output.dense",
    "…layer.0.intermediate.dense",
    "…layer.0.output.dense",
  ]);
  expect(shortNames(["a.long.name", "b.long.name"], 8)).toEqual(["a.l…name", "b.l…name"]);
});

test("a single long name is cut in the middle", () => {
  expect(shortName("h.0.mlp", 7)).toBe("h.0.mlp");
  expect(shortName("model.transformer.h.0.mlp", 12)).toBe("model….0.mlp");
  expect(shortName("model.transformer.h.0.mlp", 12).length).toBeLessThanOrEqual(12);
});
