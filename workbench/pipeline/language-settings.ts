// The settings of an experiment with a language model: those of every experiment, and how its text is read.

import { z } from "zod";
import { count, experimentShape, grouped, text } from "./settings.ts";

export const languageSettings = z.object({
  ...experimentShape("windows"),
  ...grouped("Model and data", {
    column: text("column that holds the text").default("text"),
    encoding: text("encoding of files of text, such as windows-1252 (default: utf-8)").optional(),
    context: count("length of a window", "tokens").default(1024),
    wholeWindows: z
      .boolean()
      .default(false)
      .meta({ description: "evaluate on whole windows only, as published tables do, without the end of the text" }),
  }),
});

export type LanguageSettings = z.output<typeof languageSettings>;
