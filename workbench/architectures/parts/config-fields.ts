// Fields that configs of several architectures have.

import { z } from "zod";
import { MOST_VALUES } from "../../../hub/model-folder/index.ts";

/** A side or a number of something, from 1. */
export const count = z.int().min(1).max(MOST_VALUES);

/** Of blocks, layers or stages: each is a dozen parameters to describe, so a hostile file must not claim millions. */
export const blockCount = z.int().min(1).max(10_000);

/** Of an entry or a block to be left out, in training. */
export const chance = (usual: number) => z.number().min(0).lt(1).default(usual);
