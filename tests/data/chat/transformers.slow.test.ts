// Chats rendered with templates against transformers' `apply_chat_template`: the text, its ids, and which chats a
// template refuses.

import { expect, test } from "bun:test";
import { openChatTemplate } from "../../../workbench/data/chat/chat-template.ts";
import { openTokenizer } from "../../../workbench/data/index.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith } from "../../python/python.ts";
import { writeChatFolder } from "./chat-folder.ts";
import { CHATS, TEMPLATES } from "./templates.ts";

const python = pythonWith("transformers", "jinja2");
const folder = temporaryFolder();

interface Answer {
  text?: string;
  ids?: number[];
  error?: string;
}

test.skipIf(!python)(
  "chats have the text and the ids that transformers gives them, and the same ones are refused",
  async () => {
    const names = Object.keys(TEMPLATES);
    const folders = names.map((name, i) => writeChatFolder(folder(`${i}`), TEMPLATES[name] as string));
    const input = JSON.stringify({ folders, chats: CHATS });
    const answers = await askPython<Answer[][]>(python, `${import.meta.dir}/rendered.py`, { input });
    let refused = 0;
    for (const [i, name] of names.entries()) {
      const template = await openChatTemplate(folders[i] as string);
      const tokenizer = await openTokenizer(folders[i] as string);
      for (const [j, { messages, variables, prompt: generationPrompt = true }] of CHATS.entries()) {
        const { text, ids, error } = (answers[i] as Answer[])[j] as Answer;
        const render = () => template?.render(messages, { generationPrompt, ...(variables && { variables }) });
        if (error !== undefined) {
          refused++;
          expect(render).toThrow(error);
        } else {
          expect([name, j, render()]).toEqual([name, j, text]);
          expect([...tokenizer.encode(render() as string)]).toEqual(ids as number[]);
        }
      }
    }
    expect(refused).toBeGreaterThan(5);
  },
  PATIENCE,
);
