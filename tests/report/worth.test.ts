// The tables of layers in a report: what blocks are worth, and which layer of a conversion a layer of the model is.

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { layerRows } from "../../workbench/report/page/layers.ts";
import { worthRows, worthTable } from "../../workbench/report/page/worth.ts";
import { readRun } from "../../workbench/report/run-files.ts";
import type { ConvertedLayer, Tile } from "../../workbench/report/run-record.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const at = temporaryFolder();

const layer: ConvertedLayer = {
  ...{ layer: "h.0.mlp.c_proj", structure: "gblr", nIn: 40, nOut: 10, costBefore: 400, costAfter: 200 },
  relativeError: 0.5,
  outputError: 0.3,
  tiles: [
    { rows: [0, 10], columns: [0, 40], rank: 2, cost: 100, worth: 0.55 },
    { rows: [0, 10], columns: [0, 20], rank: 3, cost: 80, worth: 0.07 },
    { rows: [0, 10], columns: [20, 40], rank: 1, cost: 20, worth: -1e-9 },
  ],
};

const cells = (conversion: readonly ConvertedLayer[]): string[][] =>
  [...worthTable(worthRows(conversion)).text.matchAll(/<tr><th scope="row">.*?<\/tr>/g)].map(([row]) =>
    [...row.matchAll(/<t[dh][^>]*>(.*?)<\/t[dh]>/g)].map(([, text]) => text as string),
  );

test("each tile has its rank, its share of the cost and the output error without it", () => {
  // √(0.09 + 0.55) = 0.8 and √(0.09 + 0.07) = 0.4
  expect(cells([layer])).toEqual([
    ["h.0.mlp.c_proj", "whole + 2 groups of columns", "2 · 3 · 1", "50 · 40 · 10", "30.0 %", "80.0 · 40.0 · 30.0"],
  ]);
});

test("tiles are named by the side that is divided, and by how many have blocks", () => {
  const [whole, ...groups] = layer.tiles as [Tile, ...Tile[]];
  const turned = groups.map((tile) => ({ ...tile, rows: tile.columns, columns: tile.rows }));
  const named = (tiles: ConvertedLayer["tiles"], size: { nIn: number; nOut: number }) =>
    cells([{ ...layer, ...size, tiles }])[0]?.[1];
  const size = { nIn: 40, nOut: 10 };
  expect(named([whole], size)).toBe("whole");
  expect(named(groups, size)).toBe("2 groups of columns");
  expect(named([whole, ...groups.slice(1)], size)).toBe("whole + 1 group of columns");
  expect(named(turned, { nIn: 10, nOut: 40 })).toBe("2 groups of rows");
});

test("layers without tiles, and conversions of earlier versions, have no rows", async () => {
  const { tiles: _, ...plain } = layer;
  const { outputError: _1, ...older } = plain;
  expect(worthRows([plain, older, { ...layer, tiles: [] }])).toEqual([]);
  writeFileSync(at("conversion.json"), JSON.stringify([older, layer]));
  const { conversion, problems } = await readRun(at());
  expect(problems).toEqual([]);
  expect(conversion).toEqual([older, layer]);
});

test("layers of a model are found in its conversion whatever prefix their names have in files", () => {
  const size = { nIn: 40, nOut: 10, cost: 200, share: 0.5, equalCostRank: 4, structure: "gblr" };
  const totals = { layers: 2, cost: 400, dense: 800, share: 0.5 };
  const layers = ["model.layers.1.fc", "model.layers.11.fc", "layers.2.fc"].map((name) => ({ name, ...size }));
  const inspection = { model: "m", layers, totals: { structured: totals, all: totals }, embeddings: [] };
  const conversion = ["layers.1.fc", "layers.2.fc"].map((name, i) => ({
    ...layer,
    layer: name,
    relativeError: i / 10,
  }));
  expect(layerRows({ inspection, conversion }).map(({ relativeError }) => relativeError)).toEqual([0, undefined, 0.1]);
});
