// Requests to the API, and what every page needs: who is signed in, elements, words.

const BASE = "/api/v1";

export const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
export const mayWrite = meta("may") !== "viewer";
export const $ = (selector, root = document) => root.querySelector(selector);

/** A request that was refused (`status` is HTTP's), or that got no answer (`status` 0). */
export class Fault extends Error {
  constructor(status, body, wait = 0) {
    super(body.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.body = body;
    this.wait = wait; // seconds that the server asks to wait
  }
}

let csrf = meta("csrf");

/** JSON of the API; FormData goes as it is. Throws Fault. */
export async function api(path, { method = "GET", json, form, again = true } = {}) {
  const headers = method === "GET" ? {} : { "x-csrf-token": csrf };
  if (json !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    const body = form ?? (json === undefined ? undefined : JSON.stringify(json));
    answer = await fetch(BASE + path, { method, headers, body, credentials: "same-origin" });
  } catch {
    throw new Fault(0, { detail: "There is no connection to the server.", code: "offline" });
  }
  if (answer.status === 204) return null;
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  if (said.code === "csrf" && again) {
    csrf = (await api("/session")).csrf; // the session is another one than when the page was loaded
    return api(path, { method, json, form, again: false });
  }
  throw new Fault(answer.status, said, Number(answer.headers.get("retry-after")) || 0);
}

/** The sign-in page, and back to here afterwards. */
export const signIn = () => `/login?next=${encodeURIComponent(location.pathname + location.search)}`;

/** An element: make("a", {href: "/x", class: "y", onclick: f}, "text", child). Text is never read as HTML. */
export function make(tag, props = {}, ...children) {
  const svg = ["svg", "path", "rect", "text", "g", "circle", "line", "polyline", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/** "1 finding", "1,200 findings". */
export const some = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
export const percent = (p) => (p === null || p === undefined ? "–" : `${Math.round(100 * p)} %`);
export const clock = (time) => new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

const SAID = {
  confirm: "confirmed", change: "changed", reject: "not an object", unsure: "cannot judge", skip: "skipped", box: "box mended",
  add: "added", undo: "undone",
};
/** What a decision says, in words. */
export function spoken(action, name) {
  const word = SAID[action] ?? action;
  if (action === "change") return `changed to ${name}`;
  return name && (action === "confirm" || action === "add") ? `${word}: ${name}` : word;
}

/** A key for a decision: the server keeps one event for it, however often it is sent. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

$("#logout")?.addEventListener("click", async () => {
  await api("/logout", { method: "POST" }).catch(() => null);
  location.href = "/login";
});
