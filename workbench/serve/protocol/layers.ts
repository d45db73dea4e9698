// Answers of /layers and /layers/blocks, which are not in OpenAI's protocol: the linear layers of a served model, and where
// the blocks of one are.

import { z } from "@hono/zod-openapi";

/** A linear layer of a model. */
const Layer = z
  .object({
    name: z.string(),
    structure: z.string(),
    n_in: z.int(),
    n_out: z.int(),
    cost: z.number().openapi({ description: "multiply-adds per row of input" }),
    share: z.number().openapi({ description: "cost relative to the dense layer" }),
    live_blocks: z.int().nullable().openapi({ description: "null for layers that have no blocks" }),
    all_blocks: z.int().nullable().openapi({ description: "blocks with the dead ones" }),
    block_rank: z.int().nullable(),
  })
  .openapi("Layer");

/** The layers of a model, in its order. */
export const Layers = z
  .object({
    model: z.string(),
    share: z.number().openapi({ description: "cost of all layers relative to dense ones" }),
    palette: z.array(z.string()).openapi({ description: "colors for numbers of blocks, from none to the most" }),
    layers: z.array(Layer),
  })
  .openapi("Layers");

const samples = z.array(z.int());

/** Where the live blocks of a layer are, in samples. Starts are cyclic: a block may go on at the other edge. */
export const Blocks = z
  .object({
    model: z.string(),
    layer: z.string(),
    n_in: z.int(),
    n_out: z.int(),
    start_in: samples,
    length_in: samples,
    start_out: samples,
    length_out: samples,
  })
  .openapi("Blocks");
