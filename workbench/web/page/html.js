// The template tag of the pages, and small parts that both have. The browser runs the modules as they are, without a build
// step. All text goes into text nodes and attributes of elements, so that no name or answer can become markup.

import htm from "htm";
import { h } from "preact";

/**
 * Makes elements from a template, for example html`<p class="soft">${text}</p>`.
 * @type {(strings: TemplateStringsArray, ...values: unknown[]) => import("preact").VNode}
 */
// One template has one root here, while a tag of htm can also return a list.
export const html = /** @type {any} */ (htm).bind(h);

/** An element that only screen readers show. @param {{ children?: import("preact").ComponentChildren }} properties */
export const Hidden = ({ children }) => html`<span class="hidden">${children}</span>`;

/**
 * A message about something that failed.
 * @param {{ message: string }} properties
 */
export const Problem = ({ message }) => html`<p class="problem" role="alert">${message}</p>`;

/**
 * A box to check, with its label.
 * @param {{ label: import("preact").ComponentChildren, checked: boolean, onChange: (checked: boolean) => void }} properties
 */
export const Check = ({ label, checked, onChange }) => html`<label class="check">
  <input type="checkbox" checked=${checked} onChange=${(/** @type {any} */ event) => onChange(event.target.checked)} /> ${label}</label>`;

/**
 * A choice of one of several texts.
 * @param {object} properties
 * @param {string} properties.id
 * @param {string} properties.label
 * @param {string | undefined} properties.value
 * @param {readonly string[]} properties.options
 * @param {(value: string) => void} properties.onValue
 */
export const Select = ({ id, label, value, options, onValue }) => html`<label class="field" for=${id}>${label}
  <select id=${id} value=${value} onChange=${(/** @type {any} */ event) => onValue(event.target.value)}>
    ${options.map((option) => html`<option key=${option} value=${option}>${option}</option>`)}
  </select></label>`;
