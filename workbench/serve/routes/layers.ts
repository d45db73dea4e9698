// /layers and /layers/blocks: the linear layers of a served model and their blocks, which the page draws.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { type LayerLayout, readLayouts } from "../../report/index.ts";
import { PALETTE } from "../../report/pictures/colors.ts";
import { ApiError } from "../../web/api-error.ts";
import { Blocks, Layers } from "../protocol/layers.ts";
import type { AppEnv, Service } from "../service.ts";
import type { ServedModel } from "../texts/served-model.ts";
import { describedGet } from "./described.ts";

const MODEL = z.string().optional().openapi({ description: "name of a served model. Default: the first one" });

const layers = createRoute({
  ...describedGet({ path: "/layers", summary: "The linear layers of a model", answer: Layers }),
  request: { query: z.object({ model: MODEL }) },
});
const blocks = createRoute({
  ...describedGet({ path: "/layers/blocks", summary: "Where the blocks of a layer are", answer: Blocks }),
  request: { query: z.object({ model: MODEL, layer: z.string() }) },
});

const COLORS = PALETTE.map((color) => `#${color.map((part) => part.toString(16).padStart(2, "0")).join("")}`);

/** Adds the routes. */
export function addLayers(app: OpenAPIHono<AppEnv>, service: Service): void {
  const kept = new Map<ServedModel, Promise<LayerLayout[]>>();
  const layoutsOf = (model: ServedModel): Promise<LayerLayout[]> => {
    const found = kept.get(model) ?? readLayouts(model.folder);
    kept.set(model, found);
    // A folder that cannot be read now may be readable at the next request.
    found.catch(() => kept.delete(model));
    return found;
  };
  app.openapi(layers, async (c) => {
    const model = service.model(c.req.valid("query").model);
    const found = await layoutsOf(model);
    const sum = (value: (layer: LayerLayout) => number) => found.reduce((total, layer) => total + value(layer), 0);
    const dense = sum(({ nIn, nOut }) => nIn * nOut);
    const share = dense > 0 ? sum(({ cost }) => cost) / dense : 0;
    return c.json({ model: model.name, share, palette: COLORS, layers: found.map(described) }, 200);
  });
  app.openapi(blocks, async (c) => {
    const { model: name, layer } = c.req.valid("query");
    const model = service.model(name);
    const found = (await layoutsOf(model)).find(({ name }) => name === layer)?.blocks?.layout;
    if (!found) throw new ApiError(404, `${model.name} has no layer ${JSON.stringify(layer)} with blocks; see /layers`);
    const { nIn, nOut, startIn, lengthIn, startOut, lengthOut } = found;
    const spans = { start_in: startIn, length_in: lengthIn, start_out: startOut, length_out: lengthOut };
    const lists = Object.fromEntries(Object.entries(spans).map(([key, values]) => [key, Array.from(values)]));
    return c.json({ model: model.name, layer, n_in: nIn, n_out: nOut, ...(lists as Lists) }, 200);
  });
}

type Lists = Record<"start_in" | "length_in" | "start_out" | "length_out", number[]>;

const described = ({ name, structure, nIn, nOut, cost, share, blocks }: LayerLayout) => ({
  ...{ name, structure, n_in: nIn, n_out: nOut, cost, share },
  live_blocks: blocks?.layout.lengthIn.length ?? null,
  all_blocks: blocks?.all ?? null,
  block_rank: blocks?.rank ?? null,
});
