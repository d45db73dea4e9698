// Two models of one config that differ in every number, in structure and in the files that they are saved as.

import type { Gpt2Config, Model } from "../../workbench/models/index.ts";
import { livelier, structured, tinyGpt2 } from "./tiny.ts";

export const first = (): Promise<Model<Gpt2Config>> =>
  structured(livelier(tinyGpt2()), ["h.0.mlp.c_fc", "h.1.mlp.c_fc"], "gblr");
export const second = async (): Promise<Model<Gpt2Config>> => livelier(tinyGpt2({}, 8), 9);
