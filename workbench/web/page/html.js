// The template tag of the page: markup in modules that the browser runs as they are, without a build step. All text goes
// into text nodes and attributes of elements, so that no name or answer can become markup.

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
