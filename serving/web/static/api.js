// Asking the API: the key, and problems as messages. Every text reaches the page as text, never as markup.

const STORED = "lora-manager-key";

/** A problem that the API answered with. */
export class Problem extends Error {
  constructor(status, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The JSON answer of a path; throws a Problem. */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  const key = sessionStorage.getItem(STORED);
  if (key) headers.set("X-API-Key", key);
  if (options.body) headers.set("Content-Type", "application/json");
  const response = await fetch(path, { ...options, headers }).catch(() => {
    throw new Problem(0, "The service does not answer. Is it running?", 0);
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Problem(response.status, answer.detail ?? response.statusText, Number(response.headers.get("Retry-After")) || 0);
  }
  return answer;
}

/** Whether a key is kept. */
export function hasKey() {
  return sessionStorage.getItem(STORED) !== null;
}

/** Keep a key for as long as the tab is open. */
export function useKey(key) {
  sessionStorage.setItem(STORED, key);
}

/** An element with attributes and children. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Text whose `quoted` parts are code. */
export const prose = (text) => text.split("`").map((part, position) => (position % 2 ? element("code", {}, part) : part));
