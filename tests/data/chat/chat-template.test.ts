// Chat templates of folders: where they are found, and that a broken or hostile one is an error of one line.
// transformers.slow.test.ts compares texts with transformers.

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { openChatTemplate } from "../../../workbench/data/chat/chat-template.ts";
import { formatTime } from "../../../workbench/data/chat/format-time.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { type ChatFolderOptions, writeChatFolder } from "./chat-folder.ts";

const folder = temporaryFolder();
const MESSAGES = [{ role: "user", content: "hi" }];
let made = 0;

/** A folder with this template. */
const written = (template: string, options?: ChatFolderOptions) =>
  writeChatFolder(folder(`${made++}`), template, options);

async function rendered(template: string, options?: ChatFolderOptions): Promise<string | undefined> {
  return (await openChatTemplate(written(template, options)))?.render(MESSAGES);
}

test("a template is found in each of its places, and chat_template.jinja comes first", async () => {
  const template = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token }}";
  for (const place of ["chat_template.jinja", "tokenizer_config.json", "list", "chat_template.json"] as const) {
    expect(await rendered(template, { place })).toBe("<s>hi</s>");
  }
  expect(await rendered(template, { place: "none" })).toBeUndefined();
  const both = written(template, { place: "tokenizer_config.json" });
  writeFileSync(`${both}/chat_template.jinja`, "first\r\nline\r\n");
  expect((await openChatTemplate(both))?.render(MESSAGES)).toBe("first\nline");
});

test("special tokens are those of tokenizer_config.json, else of special_tokens_map.json", async () => {
  const at = written("{{ bos_token }} {{ pad_token }}");
  writeFileSync(
    `${at}/special_tokens_map.json`,
    JSON.stringify({ bos_token: "<old>", pad_token: { content: "<pad>" } }),
  );
  expect((await openChatTemplate(at))?.render(MESSAGES)).toBe("<s> <pad>");
});

test("the prompt of the answer and variables reach the template", async () => {
  const template = "{{ mood }}{% if add_generation_prompt %}!{% endif %}{{ tools is none }}{{ documents is none }}";
  const opened = await openChatTemplate(written(template));
  expect(opened?.render(MESSAGES)).toBe("!truetrue");
  expect(opened?.render(MESSAGES, { generationPrompt: false, variables: { mood: "glad" } })).toBe("gladtruetrue");
});

describe("one line says what is wrong with", () => {
  const fails = async (template: string, message: RegExp) => {
    const error = await rendered(template).then(
      () => undefined,
      (error: unknown) => error as Error,
    );
    expect(error?.name).toBe("DataError");
    expect(error?.message).toMatch(message);
    expect(error?.message).not.toContain("\n");
  };

  test("a template that is not valid", async () => {
    await fails("{% for m in messages %}{{ m.content %}", /has a chat template that is not valid: /);
    await fails("{{ 'abc }}", /has a chat template that is not valid: /);
    await fails("{% if %}{% endif %}", /has a chat template that is not valid: /);
    await fails("{% for m in messages %}{{ m.content }}", /not valid: a block or an expression in it is not closed/);
    await fails(
      `{{ ${"(".repeat(100_000)}1${")".repeat(100_000)} }}`,
      /chat template that is not valid: it is nested too/,
    );
    await fails(" ".repeat(2 ** 20 + 1), /more than 1048576 bytes/);
  });

  test("a template that fails or refuses the chat", async () => {
    await fails("{{ messages | nonsense }}", /the template fails: .*nonsense/);
    await fails("{{ raise_exception('no system,\nplease') }}", /the template refuses the chat: no system/);
    await fails("{{ range(3, 9, 0) }}", /the template calls range with arguments/);
  });

  test("a template that would run for years or fill the memory", async () => {
    const loops = `{% set r = range(1000) %}${"{% for i in r %}".repeat(5)}x${"{% endfor %}".repeat(5)}`;
    await fails(loops, /the template takes more than 1000000 steps/);
    await fails("{% for i in range(1000000000) %}x{% endfor %}", /takes more than 1000000 steps/);
    const double = (start: string) =>
      `{% set ns = namespace(v=${start}) %}{% for i in range(60) %}{% set ns.v = ns.v + ns.v %}{% endfor %}{{ ns.v }}`;
    await fails(double("'ab'"), /makes a text or list of more than 4000000/);
    await fails(double("[1]"), /makes a text or list of more than 4000000/);
    const long = "{% set ns = namespace(v='ab') %}{% for i in range(20) %}{% set ns.v = ns.v + ns.v %}{% endfor %}";
    await fails(
      `${long}{% for i in range(9999) %}{% if ns.v | upper %}{% endif %}{% endfor %}`,
      /takes more than 1000000/,
    );
    await fails("{% set r = range(99999) %}{% for i in r %}{{ r | length }}{% endfor %}", /takes more than 1000000/);
    const nested = (twice: string) =>
      `{% set n = namespace(v=["a"]) %}{% for i in range(60) %}{% set n.v = ${twice} %}{% endfor %}{{ n.v | tojson }}`;
    await fails(nested("[n.v, n.v]"), /makes a text or list of more than 4000000/);
    await fails(nested("{'a': n.v, 'b': [n.v]}"), /makes a text or list of more than 4000000/);
    await fails("{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}", /is nested more than 500 deep/);
  }, 60_000);

  test("files that are damaged", async () => {
    const at = written("", { place: "none" });
    const config = (text: string) => writeFileSync(`${at}/tokenizer_config.json`, text);
    const opens = (message: RegExp) => expect(openChatTemplate(at)).rejects.toThrow(message);
    config("{");
    await opens(/tokenizer_config\.json: is not valid JSON/);
    config("[]");
    await opens(/tokenizer_config\.json: is not a JSON object/);
    config('{"chat_template": 3}');
    await opens(/has a chat_template that is neither a text nor a list of named texts/);
    config('{"chat_template": [{"name": "rag", "template": ""}, {"name": "tool_use", "template": ""}]}');
    await opens(/has chat templates, but none is called default; it has rag, tool_use/);
    config("{}");
    writeFileSync(`${at}/chat_template.jinja`, Buffer.of(0x61, 0xff));
    await opens(/chat_template\.jinja: .*UTF-8/);
  });
});

test("times are formatted as Python does in English", () => {
  const time = new Date(2024, 1, 5, 13, 4, 9);
  expect(formatTime(time, "%d %b %Y|%A, %B %-d|%j %y %H:%M:%S %I%p %e %F %T %w %% %a %Q")).toBe(
    "05 Feb 2024|Monday, February 5|036 24 13:04:09 01PM  5 2024-02-05 13:04:09 1 % Mon %Q",
  );
});
