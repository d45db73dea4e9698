// Chat templates that use the same constructs as those of well-known models, and chats to render.

import type { ChatMessage } from "../../../workbench/data/chat/chat-template.ts";

/** Templates by the model family whose constructs they use. */
export const TEMPLATES: Readonly<Record<string, string>> = {
  "ChatML with a default system message": `{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
Answer in short.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}`,

  "headers and trimmed content": `{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y, %A, %B %-d, %j") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{{- bos_token }}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
`,

  "instructions in brackets, roles in turn": `{%- if messages[0]["role"] == "system" -%}
    {%- set system_message = messages[0]["content"] -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- set ns = namespace(index=0) -%}
{{- bos_token }}
{%- for message in loop_messages -%}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) -%}
        {{- raise_exception("After the optional system message, roles must alternate user and assistant!") }}
    {%- endif -%}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, not " ~ message["role"]) }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 -%}
{%- endfor -%}
`,

  "tools and thoughts": `{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n{\\"name\\": <function-name>}<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or reasoning) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls or [] %}
            {%- if tool_call.function %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' ~ tool_call.name ~ '", "arguments": ' }}
            {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}`,

  "lines of blocks": `{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
  {% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
  {% endif %}
{% endfor %}
`,

  "no system role": `{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %}`,

  "macros, filters and tests": `{#- A template with what the others do not use. -#}
{%- macro header(role, more={}) -%}
  [{{ role | upper }}{% for key, value in more.items() %} {{ key }}={{ value }}{% endfor %}]
{%- endmacro -%}
{%- set users = messages | selectattr('role', 'equalto', 'user') | list -%}
{%- set others = messages | rejectattr('role', 'equalto', 'user') | map(attribute='role') | join(', ') -%}
{{ users | length }} of {{ messages | length }}; {{ others | default('none', true) }}; {{ undefined_name | default('?') }}
{%- for message in messages if message.role != 'system' %}
    {%- if loop.index > 3 %}{% break %}{% endif %}
    {%- if message.content | length < 4 %}{% continue %}{% endif %}
{{ header(message.role, {'n': loop.index, 'left': loop.revindex0}) }}{{ ' ' ~ message.content | replace('a', 'A') | upper }}
 ({{ 'even' if loop.index is even else 'odd' }}{{ ', last' if loop.last }})
{%- else %}nobody said anything
{%- endfor %}
{% set text -%}
  {{ messages[-1]['content'][:5] }}|{{ messages[0].content[-3:] }}|{{ messages[0].get('name', 'nameless') }}
{%- endset %}
{{ text }} {{ [1, 2.5, true, none, 'é"\\\\<'] | tojson }} {{ {'b': [1], 'a': {}} | tojson }} {{ {'b': [1], 'a': {}} | tojson(indent=2) }}
{{- 7 // 2 }} {{ 7 % 3 }} {{ -7 / 2 }} {{ 2 ** 3 }} {{ 'in' if 'x' in 'xy' and 3 not in [1, 2] }} {{ 1 if false }}
{{ range(3) | list }} {{ range(6, 0, -2) | list | last }} {{ 'A b'.title() }} {{ ' a '.strip() }} {{ 'a,b'.split(',') | first }}
{%- generation %} generated {% endgeneration -%}
`,

  "loops that end early, and variables in them": `{% set last = 'none' %}
{%- for message in messages -%}
    [{{ last }} {{ seen | default('new') }}
    {%- set seen = message.role %}
    {%- if message.role == 'user' %}
        {%- set last = message.content | trim %} user
        {%- if 'o' in message.content %} with o]{% continue %}{% endif %}
    {%- elif message.role == 'tool' %} tool]{% break %}
    {%- endif %} {{ last }}]
    {%- for letter in ['x', 'y', 'z'] %}
        {%- set seen = letter %}
        {%- if letter == 'y' %}{{ letter }}{% break %}{% endif %}{{ letter }}
    {%- else %}never
    {%- endfor %}{{ seen }}
{%- else %}empty
{%- endfor %} {{ last }} {{ seen | default('unseen') }}
{%- for message in messages %}{% continue %}{% else %} not reached{% endfor %}
{%- macro role(message) %}{% for part in [message.role] %}{{ part }}{% break %}{% endfor %}{% endmacro %}
{%- for message in messages %} {{ role(message) }}{% endfor %}
`,
};

/** Chats, with variables of the template. */
export const CHATS: readonly { messages: ChatMessage[]; variables?: Record<string, unknown>; prompt?: boolean }[] = [
  { messages: [{ role: "user", content: "Hello" }] },
  { messages: [{ role: "user", content: "  Hello\n" }], prompt: false },
  {
    messages: [
      { role: "system", content: "Be brief. " },
      { role: "user", content: "a" },
      { role: "assistant", content: "<think>\nlong\nthoughts\n</think>\n\nyes, <|im_end|> é 日本" },
      { role: "user", content: "and banana?" },
    ],
  },
  {
    messages: [
      { role: "user", content: "one" },
      { role: "assistant", content: "two" },
      { role: "user", content: "three" },
      { role: "assistant", content: "four" },
      { role: "user", content: "five" },
    ],
    variables: { enable_thinking: false },
  },
  {
    messages: [
      { role: "user", content: "one" },
      { role: "user", content: "two" },
    ],
  },
  { messages: [{ role: "assistant", content: "first" }], prompt: false },
  { messages: [{ role: "robot", content: "who am I" }] },
  {
    messages: [
      { role: "system", content: "Use tools" },
      { role: "user", content: "weather?" },
      {
        role: "assistant",
        content: "",
        tool_calls: [
          { type: "function", function: { name: "get", arguments: { city: "Zürich", days: 2, "<b>": null } } },
        ],
      },
      { role: "tool", content: "sunny" },
      { role: "tool", content: "warm" },
    ],
    variables: { tools: [{ type: "function", function: { name: "get", description: 'of a "city"', parameters: {} } }] },
  },
];
