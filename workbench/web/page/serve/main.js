// The page of `gblr serve`: a prompt, the answers of models beside each other, and the block layouts of a model.

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { RequestFailed, readJson } from "../api.js";
import { html, Problem } from "../html.js";
import { KeyForm } from "../key-form.js";
import { ask } from "./answer.js";
import { Column, SHADES } from "./column.js";
import { Layers } from "./layers.js";
import { PromptForm } from "./prompt-form.js";

/**
 * @typedef {import("./answer.js").Answer} Answer
 * @typedef {import("./prompt-form.js").Asked} Asked
 * @typedef {import("./prompt-form.js").ServedModel} ServedModel
 */

/** tokens of an answer, if nothing else is asked for */
const USUAL_TOKENS = 100;

/** The models of the server, each with whether it has a chat template. @returns {Promise<ServedModel[]>} */
async function servedModels() {
  const { data } = await readJson("/v1/models");
  return Promise.all(
    data.map(async (/** @type {{ id: string, max_model_len: number }} */ { id, max_model_len: context }) => {
      const { chat_template: template } = await readJson(`/tokenizer_info?model=${encodeURIComponent(id)}`);
      return { id, context, hasChat: template !== null };
    }),
  );
}

/** Shows the page, or asks for the key before that. */
function App() {
  const [models, setModels] = useState(/** @type {ServedModel[] | undefined} */ (undefined));
  const [failure, setFailure] = useState(/** @type {RequestFailed | undefined} */ (undefined));
  const [tries, setTries] = useState(0);
  useEffect(() => {
    servedModels().then(setModels, (error) => {
      setFailure(error instanceof RequestFailed ? error : new RequestFailed(0, String(error)));
    });
  }, [tries]);
  const body = models
    ? html`<${Page} models=${models} />`
    : failure?.needsKey
      ? html`<${KeyForm} wrong=${tries > 0} onKey=${() => setTries(tries + 1)} />`
      : failure
        ? html`<${Problem} message=${failure.message} />`
        : html`<p class="soft">Reads the list of models …</p>`;
  return html`<main><h1>gblr serve</h1>${body}</main>`;
}

/** @param {{ models: ServedModel[] }} properties */
function Page({ models }) {
  const first = models.slice(0, 2);
  const [asked, setAsked] = useState(
    /** @type {Asked} */ ({
      prompt: "",
      chosen: first.map(({ id }) => id),
      isChat: first.every(({ hasChat }) => hasChat),
      // A half of the shortest context is left to the prompt.
      tokens: Math.min(USUAL_TOKENS, ...models.map(({ context }) => Math.ceil(context / 2))),
      ...{ temperature: 0, seed: 0, inTurn: false },
    }),
  );
  const { answers, isRunning, start, stop } = useAnswers();
  return html`<div>
    <section aria-labelledby="answers"><h2 id="answers">Answers</h2>
      <${PromptForm} models=${models} asked=${asked} isRunning=${isRunning} onStop=${stop}
        onChange=${(/** @type {Partial<Asked>} */ changes) => setAsked((before) => ({ ...before, ...changes }))}
        onAsk=${() => start(asked)} />
      <${Legend} />
      <div class="columns">
        ${asked.chosen.map(
          (model) => html`<${Column} key=${model} id=${`model-${models.findIndex(({ id }) => id === model)}`}
          model=${model} answer=${answers[model]} />`,
        )}
      </div>
    </section>
    <${Layers} models=${models.map(({ id }) => id)} />
  </div>`;
}

const Legend = () => html`<p class="legend soft">Probability of a token:
  ${SHADES.map(({ label }, i) => html`<span key=${label} class=${`token shade-${i}`}>${label}</span>`)}</p>`;

/** The answers of models by name, and the requests for them. */
function useAnswers() {
  const [answers, setAnswers] = useState(/** @type {Record<string, Answer>} */ ({}));
  const [isRunning, setRunning] = useState(false);
  const stopping = useRef(/** @type {AbortController | undefined} */ (undefined));
  /** @type {(asked: Asked) => Promise<void>} */
  const start = async ({ chosen, prompt, isChat, tokens, temperature, seed, inTurn }) => {
    const stop = new AbortController();
    const { signal } = stop;
    stopping.current = stop;
    setRunning(true);
    setAnswers({});
    // Several tokens between two frames are drawn once.
    const latest = /** @type {Record<string, Answer>} */ ({});
    let isDrawing = false;
    const draw = () => {
      isDrawing = false;
      setAnswers((before) => ({ ...before, ...latest }));
    };
    const asking = (/** @type {string} */ model) =>
      ask(
        { model, prompt, isChat, tokens, temperature, seed },
        {
          signal,
          onAnswer(answer) {
            latest[model] = answer;
            if (!isDrawing) requestAnimationFrame(draw);
            isDrawing = true;
          },
        },
      );
    if (inTurn) for (const model of chosen) await asking(model);
    else await Promise.all(chosen.map(asking));
    draw();
    setRunning(false);
  };
  return { answers, isRunning, start, stop: () => stopping.current?.abort() };
}

render(html`<${App} />`, document.body);
