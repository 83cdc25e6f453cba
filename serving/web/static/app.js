// The page: search, what is similar, what fits a prompt, how the library is.

import { Problem, ask, element, hasKey, prose, useKey } from "./api.js";

const PAGE = 24;
const at = (id) => document.getElementById(id);
const WIDE = matchMedia("(min-width: 60rem)");
let asked = 0;
let answered = 0;
let cursor = null;
let tag = "";
let empty = false;

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
      element("ul", { class: "tags", "aria-label": "Tags" }, ...adapter.tags.slice(0, 4).map((each) => element("li", {},
        element("button", { type: "button", "aria-label": `Only with the tag ${each}`, onclick: () => chooseTag(each) }, each)))),
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
      element("button", {
        class: "plain", type: "button", "aria-label": `Similar to ${item.lora_name}`,
        onclick: () => showSimilar({ id: item.lora_id, name: item.lora_name }),
      }, "Similar"),
    ),
    element("span", { class: "score", title: "Final score" }, item.final_score.toFixed(2)));
}

/** Say what went wrong, where it was asked; ask for a key where one is needed. */
function complain(place, error) {
  if (error instanceof Problem && error.status === 401) {
    at("key-form").hidden = false;
    if (hasKey()) at("key-note").textContent = "That key is not known here.";
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
  if (tag) question.set("tag", tag);
  const sort = at("sort").value || (text ? "" : "-downloads");
  if (sort) question.set("sort", sort);
  if (more) question.set("cursor", cursor);
  remember(text);
  at("results").setAttribute("aria-busy", "true");
  try {
    const page = await ask(`/api/v1/adapters?${question}`);
    if (mine !== asked) return;
    const cards = page.items.map(card);
    if (more) at("results").append(...cards);
    else at("results").replaceChildren(...cards);
    cursor = page.next_cursor;
    at("more").hidden = cursor === null;
    say(at("found"), counted(page.total));
    if (more) cards[0]?.querySelector("button").focus();
  } catch (error) {
    if (mine !== asked) return;
    if (!more) {
      at("results").replaceChildren();
      at("more").hidden = true;
    }
    complain(at("found"), error);
  } finally {
    if (mine === asked) at("results").removeAttribute("aria-busy");
  }
}

function counted(total) {
  if (total === 1) return "1 adapter";
  if (total) return `${total.toLocaleString()} adapters`;
  if (empty) return "The library is empty. On the machine of this service, lora-manager sync FOLDER reads a folder of LoRA files.";
  return "Nothing is found. Fewer words, or any base model, may find more.";
}

/** Keep what is asked in the address, so that a reload and a bookmark ask it again. */
function remember(text) {
  const state = new URLSearchParams();
  for (const [key, value] of [["q", text], ["base_model", at("base-model").value], ["tag", tag], ["sort", at("sort").value]]) {
    if (value) state.set(key, value);
  }
  history.replaceState(null, "", state.size ? `?${state}` : location.pathname);
}

function recall() {
  const state = new URLSearchParams(location.search);
  at("search").value = state.get("q") ?? "";
  at("sort").value = state.get("sort") ?? "";
  if (at("sort").selectedIndex < 0) at("sort").value = "";
  const model = state.get("base_model");
  if (model) {
    // Its place among the others comes with the figures of the library.
    at("base-model").append(element("option", { value: model }, model));
    at("base-model").value = model;
  }
  showTag(state.get("tag") ?? "");
}

function showTag(chosen) {
  tag = chosen;
  at("tag-filter").hidden = !tag;
  at("tag").textContent = `${tag} ✕`;
  at("tag").setAttribute("aria-label", `No longer only with the tag ${tag}`);
}

function chooseTag(chosen) {
  showTag(chosen);
  search();
  at("tag").focus();
}

function chooseModel(model) {
  at("base-model").value = model;
  search();
  at("search").focus({ preventScroll: true });
  at("find").scrollIntoView({ block: "nearest" });
}

async function recommend(heading, request, describe = () => []) {
  const mine = ++answered;
  at("answer-title").hidden = false;
  at("answer-title").textContent = heading;
  at("answer-list").replaceChildren();
  say(at("answer-note"), "Looking…");
  try {
    const answer = await request();
    if (mine !== answered) return;
    const notes = describe(answer);
    if (!answer.recommendations.length) notes.push("Nothing is similar enough.");
    say(at("answer-note"), [...notes, `${answer.processing_time_ms.toFixed(0)} ms`].join(" · "));
    at("answer-list").replaceChildren(...answer.recommendations.map(row));
  } catch (error) {
    if (mine !== answered) return;
    if (error instanceof Problem && error.status === 503 && error.retryAfter) {
      say(at("answer-note"), `${error.message} …`);
      setTimeout(() => mine === answered && recommend(heading, request, describe), error.retryAfter * 1000);
    } else complain(at("answer-note"), error);
  }
}

function showSimilar(adapter) {
  at("answer").focus({ preventScroll: WIDE.matches });
  return recommend(`Similar to ${adapter.name}`, () => ask(`/api/v1/recommendations/similar/${adapter.id}?limit=8`));
}

function analysed(answer) {
  const { concepts, suggested_additions: additions } = answer.prompt_analysis;
  const notes = [];
  if (concepts.length) notes.push(`Known here: ${concepts.slice(0, 5).map((each) => each.concept).join(", ")}`);
  if (additions.length) notes.push(`Try adding: ${additions.slice(0, 3).map((each) => each.text).join(", ")}`);
  return notes;
}

/** A value of a facet: its share as a meter, and a button where the list can be narrowed by it. */
function group(item, total, choose) {
  const name = item.value ?? "unknown";
  return element("li", {},
    choose && item.value !== null
      ? element("button", { type: "button", class: "link", "aria-label": `Only ${name}`, onclick: () => choose(item.value) }, name)
      : element("span", {}, name),
    element("meter", { min: 0, max: total, value: item.count, "aria-hidden": "true" }),
    element("span", { class: "count" }, item.count.toLocaleString()));
}

function groups(title, items, total, choose) {
  if (!items.length) return [];
  return [element("h3", {}, title), element("ul", { class: "groups", "aria-label": title }, ...items.slice(0, 6).map((item) => group(item, total, choose)))];
}

function happened(item) {
  const when = element("time", { datetime: item.timestamp }, new Date(item.timestamp).toLocaleString([], { dateStyle: "short", timeStyle: "short" }));
  return element("li", {}, when, " ", item.summary);
}

async function showLibrary() {
  try {
    const { stats, system_health: health } = await ask("/api/v1/dashboard/stats");
    const feed = await ask("/api/v1/dashboard/activity-feed?limit=5");
    empty = stats.total_loras === 0;
    at("dagster").href = health.dagster_url;
    const share = Math.round(stats.embeddings_coverage * 100);
    say(at("size"), `${stats.total_loras.toLocaleString()} adapters · ${stats.active_loras.toLocaleString()} active · ${share} % with vectors`);
    const chosen = at("base-model").value;
    at("base-model").replaceChildren(element("option", { value: "" }, "Any base model"), ...stats.by_base_model
      .filter((item) => item.value !== null)
      .map((item) => element("option", { value: item.value }, `${item.value} (${item.count.toLocaleString()})`)));
    at("base-model").value = chosen;
    if (at("base-model").selectedIndex < 0) at("base-model").value = "";
    at("warnings").replaceChildren(...health.warnings.map((warning) => element("li", {}, ...prose(warning))));
    at("groups").replaceChildren(
      ...groups("Base models", stats.by_base_model, stats.total_loras, chooseModel),
      ...groups("Kinds", stats.by_archetype, stats.total_loras));
    at("activity-title").hidden = !feed.length;
    at("activity").replaceChildren(...feed.map(happened));
    at("library").hidden = false;
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
at("tag").addEventListener("click", () => {
  showTag("");
  search();
  at("search").focus();
});
at("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  useKey(at("key").value);
  at("key").value = "";
  at("key-form").hidden = true;
  await start();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.closest("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    at("search").focus();
  }
});

async function start() {
  await showLibrary();
  await search();
}

recall();
// On a small screen the keyboard would cover half of what there is to see.
if (WIDE.matches) at("search").focus({ preventScroll: true });
start();
