// Composing the prompt of the active adapters, with its warnings, to be copied.

import { ask, element } from "./api.js";

const at = (id) => document.getElementById(id);

function say(text, isProblem = false) {
  at("composed-note").textContent = text;
  at("composed-note").classList.toggle("problem", isProblem);
}

async function compose() {
  const body = JSON.stringify({
    prefix: at("prefix").value,
    suffix: at("suffix").value,
    include_triggers: at("triggers").checked,
  });
  at("composed").hidden = true;
  at("composed-warnings").replaceChildren();
  say("Composing…");
  try {
    const answer = await ask("/api/v1/compose", { method: "POST", body });
    at("composed-prompt").textContent = answer.prompt;
    at("composed").hidden = answer.prompt === "";
    at("composed-warnings").append(...answer.warnings.map((warning) => element("li", {}, warning)));
    say(answer.tokens.length === 1 ? "1 token" : `${answer.tokens.length.toLocaleString()} tokens`);
  } catch (error) {
    say(error.message, true);
  }
}

async function copy() {
  try {
    await navigator.clipboard.writeText(at("composed-prompt").textContent);
    say("Copied.");
  } catch {
    // Browsers lend the clipboard to encrypted pages and this machine alone: the text is selected for the keyboard.
    getSelection().selectAllChildren(at("composed-prompt"));
    say("Selected: copy it with the keyboard.");
  }
}

at("compose-form").addEventListener("submit", (event) => { event.preventDefault(); compose(); });
at("copy").addEventListener("click", copy);
