// Asks for the key of the server. It is kept in the tab and sent with requests to this server only.

import { useState } from "preact/hooks";
import { keepKey } from "./api.js";
import { html } from "./html.js";

/**
 * @param {{ wrong: boolean, onKey: () => void }} properties `wrong`: whether a key was given that the server refused
 */
export function KeyForm({ wrong, onKey }) {
  const [key, setKey] = useState("");
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (key === "") return;
    keepKey(key);
    onKey();
  };
  return html`<form class="card key" onSubmit=${submit}>
    <label for="key">Key of this server</label>
    <input id="key" type="password" autocomplete="current-password" autofocus value=${key}
      aria-describedby="key-help" onInput=${(/** @type {any} */ event) => setKey(event.target.value)} />
    <button type="submit">Continue</button>
    <p id="key-help" class="soft">It was set with --api-key or GBLR_API_KEY. This tab keeps it until it is closed.</p>
    ${wrong && html`<p class="problem" role="alert">The server refused this key.</p>`}
  </form>`;
}
