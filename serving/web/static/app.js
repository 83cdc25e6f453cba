// The page: search, what is similar, what fits a prompt.

import { Problem, ask, element, useKey } from "./api.js";

const PAGE = 24;
const at = (id) => document.getElementById(id);
let asked = 0;
let cursor = null;

/** The preview of an adapter, or its first letter. */
function picture(url, name) {
  const letter = element("div", { class: "picture", "aria-hidden": "true" }, [...name.trim()][0]?.toUpperCase() ?? "?");
  if (!url) return letter;
  const image = element("img", { class: "picture", src: url, alt: "", loading: "lazy", decoding: "async" });
  // A video, or an image that has gone: the letter stands in.
  image.addEventListener("error", () => image.replaceWith(letter));
  return image;
}

function title(name, version) {
  return element("span", { class: "name" }, name, version ? element("span", { class: "version" }, ` ${version}`) : null);
}

function card(adapter) {
  const facts = [adapter.base_model, adapter.archetype, adapter.author_username && `by ${adapter.author_username}`];
  if (adapter.downloads !== null) facts.push(`${adapter.downloads.toLocaleString()} downloads`);
  if (adapter.file_state !== "present") facts.push(`file ${adapter.file_state}`);
  return element("li", { class: "card" },
    picture(adapter.preview_url, adapter.name),
    element("div", { class: "text" },
      title(adapter.name, adapter.version),
      element("p", { class: "facts" }, facts.filter(Boolean).join(" · ")),
      element("ul", { class: "tags", "aria-label": "Tags" }, ...adapter.tags.slice(0, 4).map((tag) => element("li", {}, tag))),
      element("button", {
        class: "plain", type: "button", "aria-label": `Similar to ${adapter.name}`,
        onclick: () => showSimilar(adapter),
      }, "Similar"),
    ));
}

function row(item) {
  return element("li", { class: "row" },
    picture(item.preview_url, item.lora_name),
    element("div", {},
      title(item.lora_name, item.version),
      element("p", { class: "facts" }, item.explanation ?? ""),
      item.triggers.length ? element("p", { class: "facts" }, `Triggers: ${item.triggers.slice(0, 4).join(", ")}`) : null,
    ),
    element("span", { class: "score", title: "Final score" }, item.final_score.toFixed(2)));
}

/** Say what went wrong, where it was asked; ask for a key where one is needed. */
function complain(place, error) {
  if (error instanceof Problem && (error.status === 401 || error.status === 403)) {
    at("key-form").hidden = false;
    at("key").focus();
  }
  place.textContent = error.message;
  place.classList.add("problem");
}

function say(place, text) {
  place.textContent = text;
  place.classList.remove("problem");
}

async function search(more = false) {
  const mine = ++asked;
  const question = new URLSearchParams({ limit: PAGE });
  const text = at("search").value.trim();
  if (text) question.set("q", text);
  if (at("base-model").value) question.set("base_model", at("base-model").value);
  const sort = at("sort").value || (text ? "" : "-downloads");
  if (sort) question.set("sort", sort);
  if (more) question.set("cursor", cursor);
  try {
    const page = await ask(`/api/v1/adapters?${question}`);
    if (mine !== asked) return;
    const cards = page.items.map(card);
    if (more) at("results").append(...cards);
    else at("results").replaceChildren(...cards);
    cursor = page.next_cursor;
    at("more").hidden = cursor === null;
    say(at("found"), page.total === 1 ? "1 adapter" : `${page.total.toLocaleString()} adapters`);
    if (more) cards[0]?.querySelector("button").focus();
  } catch (error) {
    if (mine === asked) complain(at("found"), error);
  }
}

async function recommend(heading, request, describe = () => []) {
  at("answer-title").hidden = false;
  at("answer-title").textContent = heading;
  at("answer-list").replaceChildren();
  say(at("answer-note"), "Looking…");
  try {
    const answer = await request();
    const notes = describe(answer);
    if (!answer.recommendations.length) notes.push("Nothing is similar enough.");
    say(at("answer-note"), [...notes, `${answer.processing_time_ms.toFixed(0)} ms`].join(" · "));
    at("answer-list").replaceChildren(...answer.recommendations.map(row));
  } catch (error) {
    if (error instanceof Problem && error.status === 503 && error.retryAfter) {
      say(at("answer-note"), "The models are being loaded…");
      setTimeout(() => recommend(heading, request, describe), error.retryAfter * 1000);
    } else complain(at("answer-note"), error);
  }
}

function showSimilar(adapter) {
  at("answer").focus({ preventScroll: matchMedia("(min-width: 60rem)").matches });
  return recommend(`Similar to ${adapter.name}`, () => ask(`/api/v1/recommendations/similar/${adapter.id}?limit=8`));
}

function analysed(answer) {
  const { concepts, suggested_additions: additions } = answer.prompt_analysis;
  const notes = [];
  if (concepts.length) notes.push(`Known here: ${concepts.slice(0, 5).map((each) => each.concept).join(", ")}`);
  if (additions.length) notes.push(`Try adding: ${additions.slice(0, 3).map((each) => each.text).join(", ")}`);
  return notes;
}

async function showLibrary() {
  try {
    const { stats, system_health: health } = await ask("/api/v1/dashboard/stats");
    at("dagster").href = health.dagster_url;
    const share = Math.round(stats.embeddings_coverage * 100);
    say(at("size"), `${stats.total_loras.toLocaleString()} adapters · ${stats.active_loras} active · ${share} % with vectors`);
    at("base-model").append(...stats.by_base_model.filter((group) => group.value !== null)
      .map((group) => element("option", { value: group.value }, `${group.value} (${group.count.toLocaleString()})`)));
  } catch (error) {
    complain(at("size"), error);
  }
}

function later(action, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
}

at("search").addEventListener("input", later(() => search(), 150));
for (const id of ["base-model", "sort"]) at(id).addEventListener("change", () => search());
at("search-form").addEventListener("submit", (event) => { event.preventDefault(); search(); });
at("more").addEventListener("click", () => search(true));
at("prompt-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const body = JSON.stringify({ prompt: at("prompt").value, limit: 8 });
  recommend("For this prompt", () => ask("/api/v1/recommendations/prompt", { method: "POST", body }), analysed);
});
at("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("prompt-form").requestSubmit();
});
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(at("key").value);
  at("key-form").hidden = true;
  showLibrary();
  search();
});

showLibrary();
search();
