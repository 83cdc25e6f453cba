// The API reference, made from the OpenAPI document: every operation, its parameters and answers, and a try of it.

import { ask, element, prose, useKey } from "./api.js";

const at = (id) => document.getElementById(id);
let schemas = {};

const named = (schema) => (schema?.$ref ? schemas[schema.$ref.split("/").pop()] : schema);

/** The type of a schema in words. */
function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  const bounds = [];
  if (schema.minimum !== undefined) bounds.push(`from ${schema.minimum}`);
  if (schema.maximum !== undefined) bounds.push(`to ${schema.maximum}`);
  return [schema.type ?? "any", ...bounds].join(" ");
}

/** An example of a schema: its own, or one put together from its parts. */
function exampleOf(schema) {
  const known = named(schema);
  if (!known) return undefined;
  if (known.examples?.length) return known.examples[0];
  if (known.type === "array") return [exampleOf(known.items)].filter((each) => each !== undefined);
  if (known.properties) return Object.fromEntries(Object.entries(known.properties).map(([key, part]) => [key, exampleOf(part) ?? part.default ?? null]));
  if (known.anyOf) return exampleOf(known.anyOf[0]);
  return { string: "…", integer: 0, number: 0.5, boolean: true, object: {} }[known.type];
}

const code = (value) => element("pre", { tabindex: "0" }, element("code", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2)));

function field(parameter, id) {
  const { schema } = parameter;
  const example = parameter.examples?.[0] ?? schema.examples?.[0];
  const inside = parameter.in === "path" ? example : undefined;
  return element("tr", {},
    element("th", { scope: "row" }, element("label", { for: id }, parameter.name), parameter.required ? element("span", { class: "problem" }, " required") : null),
    element("td", { class: "facts" }, typeOf(schema), schema.default !== undefined ? element("div", {}, `default ${JSON.stringify(schema.default)}`) : null),
    element("td", {}, ...prose(parameter.description ?? schema.description ?? "")),
    element("td", {}, element("input", { id, "data-name": parameter.name, "data-in": parameter.in, placeholder: example ?? "", value: inside })));
}

/** The form that asks the operation. */
function trial(path, method, operation) {
  const base = operation.operationId;
  const parameters = (operation.parameters ?? []).filter((each) => each.in !== "header");
  const body = operation.requestBody?.content?.["application/json"];
  const area = body ? element("textarea", { rows: 6, "aria-label": "Body" }, JSON.stringify(exampleOf(body.schema), null, 2)) : null;
  const output = element("div", { "aria-live": "polite" });
  const form = element("form", { class: "trial" },
    parameters.length ? element("table", {}, element("tbody", {}, ...parameters.map((each) => field(each, `${base}-${each.name}`)))) : null,
    area,
    element("button", {}, `Ask ${method.toUpperCase()}`));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let url = path;
    const query = new URLSearchParams();
    for (const input of form.querySelectorAll("input")) {
      if (input.dataset.in === "path") url = url.replace(`{${input.dataset.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.append(input.dataset.name, input.value);
    }
    if (query.size) url += `?${query}`;
    const began = performance.now();
    try {
      const answer = await ask(url, { method: method.toUpperCase(), body: area?.value });
      output.replaceChildren(element("p", { class: "quiet" }, `${url} · ${(performance.now() - began).toFixed(0)} ms`), code(answer));
    } catch (error) {
      output.replaceChildren(element("p", { class: "quiet problem" }, `${url} · ${error.status ?? ""} ${error.message}`));
    }
  });
  return element("div", {}, form, output);
}

function answers(operation) {
  return element("table", {}, element("tbody", {}, ...Object.entries(operation.responses).map(([status, answer]) => {
    const schema = answer.content?.["application/json"]?.schema;
    return element("tr", {},
      element("th", { scope: "row" }, status),
      element("td", {}, ...prose(answer.description), schema ? element("details", {}, element("summary", {}, `Example of ${typeOf(schema) || "the answer"}`), code(exampleOf(schema))) : null));
  })));
}

function show(path, method, operation) {
  return element("details", { class: "operation", id: operation.operationId },
    element("summary", {}, element("span", { class: `method ${method}` }, method.toUpperCase()), element("code", {}, path), element("span", { class: "quiet" }, operation.summary)),
    element("p", { class: "prose" }, ...prose(operation.description ?? "")),
    trial(path, method, operation),
    element("h4", {}, "Answers"),
    answers(operation));
}

async function start() {
  const api = await ask("/openapi.json");
  schemas = api.components.schemas;
  at("summary").textContent = `${api.info.summary} Version ${api.info.version}`;
  at("description").replaceChildren(...prose(api.info.description.replace(/\[([^\]]+)\]\([^)]+\)/g, "$1")));
  for (const tag of api.tags) {
    const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
      Object.entries(methods).filter(([, each]) => each.tags?.includes(tag.name)).map(([method, each]) => show(path, method, each)));
    if (operations.length) at("operations").append(element("section", {}, element("h2", {}, tag.name), element("p", { class: "quiet" }, tag.description), ...operations));
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.setAttribute("open", "");
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(at("key").value);
});
start().catch((error) => { at("description").textContent = error.message; });
