// The answer of one model to a prompt: the request for it, and what has come of it so far. Pieces of the stream are added
// to it one after the other.

import { eventsOf, RequestFailed, request } from "../api.js";

/** likeliest tokens that are asked for beside each token */
const LIKELIEST = 5;

/**
 * @typedef {{ token: string, logprob: number }} Likely
 * @typedef {Likely & { likeliest: Likely[] }} ScoredToken
 * @typedef {object} TokenText text that one or several tokens complete
 * @property {string} text empty for the token that ends the text
 * @property {ScoredToken[]} tokens
 * @typedef {"waiting" | "streaming" | "finished" | "stopped" | "failed"} AnswerState
 * @typedef {object} Answer
 * @property {AnswerState} state
 * @property {TokenText[]} texts
 * @property {ScoredToken[]} open tokens whose text has not come yet, because it ends within a character or may be a stop
 * @property {number} count tokens so far
 * @property {number} asked clock of the request, milliseconds
 * @property {number} [first] clock of the first token
 * @property {number} [last] clock of the last token
 * @property {string} [reason] why the text ended: `stop` or `length`
 * @property {string} [problem]
 */

/** @typedef {{ model: string, isChat: boolean, prompt: string, tokens: number, temperature: number, seed: number }} Question */

/** An answer before its first piece. @param {number} now clock, milliseconds @returns {Answer} */
export const noAnswer = (now) => ({ state: "waiting", texts: [], open: [], count: 0, asked: now });

/**
 * The answer with one more piece of the stream, of either kind of request.
 * @param {Answer} answer @param {any} piece @param {number} now clock, milliseconds
 * @returns {Answer}
 */
export function withPiece(answer, piece, now) {
  if (piece.error) return { ...answer, state: "failed", problem: piece.error.message };
  const [choice] = piece.choices;
  if (!choice) return answer;
  const text = choice.text ?? choice.delta?.content ?? "";
  const tokens = choice.text === undefined ? chatTokens(choice.logprobs) : completionTokens(choice.logprobs);
  const open = [...answer.open, ...tokens];
  const timed = tokens.length > 0 ? { count: answer.count + tokens.length, first: answer.first ?? now, last: now } : {};
  const ended = choice.finish_reason != null;
  // At the end, what is left are the tokens that ended the text.
  const complete = text !== "" || (ended && open.length > 0);
  return {
    ...answer,
    ...timed,
    state: ended ? "finished" : "streaming",
    ...(ended && { reason: choice.finish_reason }),
    texts: complete ? [...answer.texts, { text, tokens: open }] : answer.texts,
    open: complete ? [] : open,
  };
}

/** @param {any} logprobs @returns {ScoredToken[]} */
function completionTokens(logprobs) {
  return (logprobs?.tokens ?? []).map((/** @type {string} */ token, /** @type {number} */ i) => {
    const likeliest = Object.entries(/** @type {Record<string, number>} */ (logprobs.top_logprobs[i] ?? {}));
    const sorted = likeliest.map(([token, logprob]) => ({ token, logprob })).sort((a, b) => b.logprob - a.logprob);
    return { token, logprob: logprobs.token_logprobs[i], likeliest: sorted };
  });
}

/** @param {any} logprobs @returns {ScoredToken[]} */
const chatTokens = (logprobs) =>
  (logprobs?.content ?? []).map((/** @type {any} */ { token, logprob, top_logprobs: likeliest }) => ({
    ...{ token, logprob, likeliest },
  }));

/** The request for an answer. @param {Question} question */
function bodyOf({ model, isChat, prompt, tokens, temperature, seed }) {
  const shared = { model, max_tokens: tokens, temperature, seed, stream: true };
  return isChat
    ? { ...shared, messages: [{ role: "user", content: prompt }], logprobs: true, top_logprobs: LIKELIEST }
    : { ...shared, prompt, logprobs: LIKELIEST };
}

/**
 * Asks a model.
 * @param {Question} question
 * @param {{ signal: AbortSignal, onAnswer: (answer: Answer) => void }} options `onAnswer` is called with each change
 */
export async function ask(question, { signal, onAnswer }) {
  let answer = noAnswer(performance.now());
  const tell = (/** @type {Answer} */ next) => {
    answer = next;
    onAnswer(answer);
  };
  tell(answer);
  try {
    const path = question.isChat ? "/v1/chat/completions" : "/v1/completions";
    const response = await request(path, { body: bodyOf(question), signal });
    for await (const piece of eventsOf(response)) tell(withPiece(answer, piece, performance.now()));
    if (answer.state === "streaming" || answer.state === "waiting") {
      tell({ ...answer, state: "failed", problem: "the answer broke off" });
    }
  } catch (error) {
    if (signal.aborted) return tell({ ...answer, state: "stopped" });
    const message = error instanceof RequestFailed ? error.message : "the connection to the server broke off";
    tell({ ...answer, state: "failed", problem: message });
  }
}

/** Probability of a text: that of all its tokens. @param {TokenText} text */
export const probabilityOf = ({ tokens }) => Math.exp(tokens.reduce((sum, { logprob }) => sum + logprob, 0));

/** Tokens a second after the first one, undefined before the second. @param {Answer} answer */
export function speedOf({ count, first, last }) {
  return count > 1 && first !== undefined && last !== undefined && last > first
    ? ((count - 1) * 1000) / (last - first)
    : undefined;
}

/** Perplexity of the answer by its own model. @param {Answer} answer */
export function perplexityOf({ texts, open, count }) {
  const tokens = [...texts.flatMap((text) => text.tokens), ...open];
  return count > 0 ? Math.exp(-tokens.reduce((sum, { logprob }) => sum + logprob, 0) / count) : undefined;
}
