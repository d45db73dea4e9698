// The column of one model: its speed, its answer with a shade for each token, the token that is looked at, and the answer
// for screen readers.

import { useEffect, useRef, useState } from "preact/hooks";
import { counted, number, percent, withMarks } from "../format.js";
import { Hidden, html, Problem } from "../html.js";
import { perplexityOf, probabilityOf, speedOf } from "./answer.js";

/** @typedef {import("./answer.js").Answer} Answer @typedef {import("./answer.js").TokenText} TokenText */

/** Shades, by the least probability of each. @type {readonly { least: number, label: string }[]} */
export const SHADES = [
  { least: 0.8, label: "80 % and more" },
  { least: 0.5, label: "50 %" },
  { least: 0.2, label: "20 %" },
  { least: 0.05, label: "5 %" },
  { least: 0, label: "less" },
];

/** Index of the shade of a probability. @param {number} probability */
export const shadeOf = (probability) => SHADES.findIndex(({ least }) => probability >= least);

/** Time between pieces of an answer for screen readers, milliseconds. */
const SPOKEN = 2000;

/** @param {{ id: string, model: string, answer: Answer | undefined }} properties */
export function Column({ id, model, answer }) {
  const [at, setAt] = useState(-1);
  const texts = answer?.texts ?? [];
  const looked = texts[at];
  return html`<section class="card column" aria-labelledby=${`${id}-name`}>
    <h3 id=${`${id}-name`}>${model}</h3>
    <p class="soft facts" role="status">${answer ? factsOf(answer) : "no answer yet"}</p>
    ${answer?.problem !== undefined && html`<${Problem} message=${answer.problem} />`}
    <${Tokens} id=${id} model=${model} texts=${texts} at=${at} onAt=${setAt} />
    <${Looked} text=${looked} isEmpty=${texts.length === 0} />
    <${Spoken} model=${model} answer=${answer} />
  </section>`;
}

/** @param {Answer} answer */
function factsOf(answer) {
  const { state, count, asked, first, reason } = answer;
  const [speed, perplexity] = [speedOf(answer), perplexityOf(answer)];
  const names = { waiting: "waits", streaming: "writes", stopped: "stopped", failed: "failed", finished: "finished" };
  return [
    state === "finished" && reason === "length" ? "finished: token limit" : names[state],
    ...(count > 0 ? [counted(count, "token")] : []),
    ...(speed !== undefined ? [`${number(speed, 3)} tokens/s`] : []),
    ...(first !== undefined ? [`first after ${number((first - asked) / 1000, 2)} s`] : []),
    ...(perplexity !== undefined ? [`perplexity ${number(perplexity, 3)}`] : []),
  ].join(" · ");
}

/**
 * The text as a list of tokens, of which the arrow keys choose one.
 * @param {{ id: string, model: string, texts: TokenText[], at: number, onAt: (at: number) => void }} properties
 */
function Tokens({ id, model, texts, at, onAt }) {
  const move = (/** @type {KeyboardEvent} */ event) => {
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: texts.length - 1 };
    const next = event.key in steps ? steps[/** @type {keyof typeof steps} */ (event.key)] : undefined;
    if (next === undefined || texts.length === 0) return;
    event.preventDefault();
    onAt(Math.max(0, Math.min(next, texts.length - 1)));
  };
  const point = (/** @type {any} */ event) => {
    const found = event.target.closest?.("[data-at]");
    if (found) onAt(Number(found.dataset.at));
  };
  return html`<div class="tokens" role="listbox" tabindex="0" aria-label=${`Tokens of ${model}`}
    aria-activedescendant=${texts[at] ? `${id}-token-${at}` : undefined}
    onKeyDown=${move} onMouseOver=${point} onClick=${point}
    onFocus=${() => at < 0 && texts.length > 0 && onAt(0)}>
    ${texts.map((text, i) => {
      const probability = probabilityOf(text);
      return html`<span key=${i} id=${`${id}-token-${i}`} data-at=${i} role="option" aria-selected=${i === at}
        class=${`token shade-${shadeOf(probability)}${kindOf(text)}`}
        aria-label=${`${visibleText(text)} ${percent(probability, 0)}`}>${text.text === "" ? "end" : text.text}</span>`;
    })}
  </div>`;
}

/** A line end alone would have no place to point at. @param {TokenText} text */
const kindOf = ({ text }) => (text === "" ? " end" : /^\s*\n\s*$/.test(text) ? " break" : "");

/** @param {TokenText} text */
const visibleText = ({ text, tokens }) => withMarks(text || tokens.map(({ token }) => token).join(""));

/** The probability of a token and the likeliest ones in its place. @param {{ text?: TokenText, isEmpty: boolean }} properties */
function Looked({ text, isEmpty }) {
  if (!text) {
    const hint = isEmpty ? "" : "Point at a token, or choose it with the arrow keys, to see its probability.";
    return html`<p class="looked soft">${hint}</p>`;
  }
  const [token] = text.tokens;
  return html`<div class="looked" aria-live="polite">
    <p><code>${visibleText(text)}</code> <strong>${percent(probabilityOf(text))}</strong>
      ${text.tokens.length > 1 && html` <span class="soft">of ${text.tokens.length} tokens together</span>`}</p>
    ${text.tokens.length === 1 && token && html`<ol class="likely">${token.likeliest.map((each) => html`<${Bar} ...${each} />`)}</ol>`}
  </div>`;
}

/** @param {import("./answer.js").Likely} likely */
function Bar({ token, logprob }) {
  const probability = Math.exp(logprob);
  return html`<li><code>${withMarks(token)}</code>
    <span class="bar" aria-hidden="true"><span style=${{ width: `${(100 * probability).toFixed(2)}%` }}></span></span>
    <span class="number">${probability < 0.0005 ? "< 0.1 %" : percent(probability)}</span></li>`;
}

/** Says the answer in pieces of some words, because a screen reader could not follow single tokens. @param {{ model: string, answer: Answer | undefined }} properties */
function Spoken({ model, answer }) {
  const [said, setSaid] = useState(/** @type {string[]} */ ([]));
  const done = useRef({ length: 0, asked: -1, last: 0 });
  const text = answer?.texts.map(({ text }) => text).join("") ?? "";
  const isOver = answer !== undefined && answer.state !== "waiting" && answer.state !== "streaming";
  useEffect(() => {
    const { current } = done;
    const asked = answer?.asked ?? -1;
    if (current.asked !== asked) {
      Object.assign(current, { length: 0, asked, last: performance.now() });
      setSaid([]);
    }
    if (text.length <= current.length) return undefined;
    const say = () => {
      setSaid((before) => [...before, text.slice(current.length)]);
      Object.assign(current, { length: text.length, last: performance.now() });
    };
    const wait = isOver ? 0 : SPOKEN - (performance.now() - current.last);
    if (wait <= 0) say();
    const timer = wait > 0 ? setTimeout(say, wait) : undefined;
    return () => clearTimeout(timer);
  }, [answer?.asked, text, isOver]);
  return html`<div class="hidden" role="log" aria-live="polite" aria-label=${`Answer of ${model}`}>
    ${said.map((piece, i) => html`<span key=${i}>${piece}</span>`)}
    ${isOver && html`<${Hidden}>${` (${factsOf(answer)})`}</${Hidden}>`}
  </div>`;
}
