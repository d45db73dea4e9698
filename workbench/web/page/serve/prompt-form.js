// The form with the prompt, the models that answer beside each other, and the settings of their answers.

import { Check, html } from "../html.js";

/**
 * @typedef {object} Asked what the form holds
 * @property {string} prompt
 * @property {readonly string[]} chosen names of models, in the order of their columns
 * @property {boolean} isChat
 * @property {number} tokens
 * @property {number} temperature
 * @property {number} seed
 * @property {boolean} inTurn whether the models answer one after the other
 *
 * @typedef {object} ServedModel
 * @property {string} id
 * @property {boolean} hasChat whether it has a chat template
 * @property {number} context longest prompt and answer together, in tokens
 */

/**
 * @param {object} properties
 * @param {readonly ServedModel[]} properties.models
 * @param {Asked} properties.asked
 * @param {(changes: Partial<Asked>) => void} properties.onChange
 * @param {boolean} properties.isRunning
 * @param {() => void} properties.onAsk
 * @param {() => void} properties.onStop
 */
export function PromptForm({ models, asked, onChange, isRunning, onAsk, onStop }) {
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!isRunning) onAsk();
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
  };
  const chats = models.filter(({ id, hasChat }) => hasChat && asked.chosen.includes(id)).length;
  return html`<form class="card prompt" onSubmit=${submit}>
    <label for="prompt">Prompt</label>
    <textarea id="prompt" rows="4" spellcheck="false" value=${asked.prompt} aria-describedby="prompt-help" onKeyDown=${keys}
      onInput=${(/** @type {any} */ event) => onChange({ prompt: event.target.value })}></textarea>
    <p id="prompt-help" class="hidden">Control and Enter together start the answers.</p>
    ${models.length > 1 && html`<${ModelChoice} models=${models} chosen=${asked.chosen} onChange=${onChange} />`}
    <div class="settings">
      <fieldset><legend>As</legend>
        <${Radio} name="kind" label="text to continue" checked=${!asked.isChat} onPick=${() => onChange({ isChat: false })} />
        <${Radio} name="kind" label="chat" checked=${asked.isChat} disabled=${chats === 0} onPick=${() => onChange({ isChat: true })} />
      </fieldset>
      <${NumberField} id="tokens" label="tokens" min="1" step="1" value=${asked.tokens} onValue=${(/** @type {number} */ tokens) => onChange({ tokens })} />
      <${NumberField} id="temperature" label="temperature" min="0" max="2" step="0.1" value=${asked.temperature} onValue=${(/** @type {number} */ temperature) => onChange({ temperature })} />
      <${NumberField} id="seed" label="seed" step="1" value=${asked.seed} onValue=${(/** @type {number} */ seed) => onChange({ seed })} />
      ${
        asked.chosen.length > 1 &&
        html`<${Check} label="one after the other, to compare speeds" checked=${asked.inTurn}
          onChange=${(/** @type {boolean} */ inTurn) => onChange({ inTurn })} />`
      }
    </div>
    <div class="buttons">
      <button type="submit" class="main" disabled=${isRunning || asked.chosen.length === 0}>Generate</button>
      <button type="button" disabled=${!isRunning} onClick=${onStop}>Stop</button>
      <span class="soft" aria-hidden="true">Ctrl + Enter</span>
    </div>
  </form>`;
}

/** @param {{ models: readonly ServedModel[], chosen: readonly string[], onChange: (changes: Partial<Asked>) => void }} properties */
function ModelChoice({ models, chosen, onChange }) {
  // Columns keep the order of the server.
  const toggled = (/** @type {string} */ id) =>
    models.map((model) => model.id).filter((each) => (each === id) !== chosen.includes(each));
  return html`<fieldset class="models"><legend>Models beside each other</legend>
    ${models.map(
      ({ id }) =>
        html`<${Check} key=${id} label=${id} checked=${chosen.includes(id)} onChange=${() => onChange({ chosen: toggled(id) })} />`,
    )}
  </fieldset>`;
}

/** @param {{ name: string, label: string, checked: boolean, disabled?: boolean, onPick: () => void }} properties */
const Radio = ({ name, label, checked, disabled = false, onPick }) =>
  html`<label class="check"><input type="radio" name=${name} checked=${checked} disabled=${disabled} onChange=${onPick} /> ${label}</label>`;

/** @param {{ id: string, label: string, value: number, onValue: (value: number) => void, min?: string, max?: string, step: string }} properties */
function NumberField({ id, label, value, onValue, ...limits }) {
  const read = (/** @type {any} */ event) => {
    // An empty or wrong field keeps its last value, and the browser marks it.
    if (event.target.value !== "" && event.target.checkValidity()) onValue(Number(event.target.value));
  };
  return html`<label class="field" for=${id}>${label}<input id=${id} type="number" required ...${limits} value=${value} onInput=${read} /></label>`;
}
