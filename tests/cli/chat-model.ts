// A tiny GPT-2 for chats: bytes as tokens, a chat template, and a generation config that leaves letters and the token
// that ends a turn.

import { writeFileSync } from "node:fs";
import path from "node:path";
import { saveModelNow } from "../../workbench/models/index.ts";
import { SPECIAL, VOCABULARY, writeChatFolder } from "../data/chat/chat-folder.ts";
import { livelier, structured, tinyGpt2 } from "../models/tiny.ts";

export const CHATML = `{% for message in messages %}{{ '<|im_start|>' + message.role + '
' + message.content + '<|im_end|>
' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;

const END = 256 + SPECIAL.indexOf("<|im_end|>");
const isLetter = (id: number) => /[a-z ]/.test(String.fromCharCode(id));

export interface ChatModelOptions {
  template?: string;
  positions?: number;
  /** layers that are held as GBLR matrices. Default: all are dense */
  blocks?: readonly string[];
  /** further settings of generation_config.json */
  settings?: Record<string, unknown>;
}

/** Writes the model with the engine that is open. */
export async function writeChatModel(
  folder: string,
  { template = CHATML, positions = 256, blocks = [], settings }: ChatModelOptions = {},
): Promise<void> {
  const model = livelier(tinyGpt2({ vocab_size: VOCABULARY, n_positions: positions, eos_token_id: END }));
  await structured(model, blocks, "gblr");
  await saveModelNow(model, folder);
  model.dispose();
  writeChatFolder(folder, template, { end: "<|im_end|>" });
  const others = Array.from({ length: VOCABULARY }, (_, id) => id).filter((id) => id !== END && !isLetter(id));
  const config = { eos_token_id: END, suppress_tokens: others, ...settings };
  writeFileSync(path.join(folder, "generation_config.json"), JSON.stringify(config));
}
