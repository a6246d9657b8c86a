// Requests to the API, and what every page needs: who is signed in, elements, words.

const BASE = "/api/v1";
const LONGEST_S = 30; // a server that took a request and does not answer is as good as none

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
export const token = () => csrf;

/** JSON of the API. Throws Fault. */
export async function api(path, { method = "GET", json, again = true } = {}) {
  const headers = method === "GET" ? {} : { "x-csrf-token": csrf };
  if (json !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    const body = json === undefined ? undefined : JSON.stringify(json);
    answer = await fetch(BASE + path, { method, headers, body, credentials: "same-origin", signal: AbortSignal.timeout(1000 * LONGEST_S) });
  } catch {
    throw new Fault(0, { detail: "There is no connection to the server.", code: "offline" });
  }
  if (answer.status === 204) return null;
  const said = await answer.json().catch(() => (answer.ok ? null : {}));
  if (said === null) throw new Fault(0, { detail: "The answer of the server broke off.", code: "offline" });
  if (answer.ok) return said;
  if (said.code === "csrf" && again) {
    await renewToken(); // the session is another one than when the page was loaded
    return api(path, { method, json, again: false });
  }
  throw new Fault(answer.status, said, Number(answer.headers.get("retry-after")) || 0);
}

/** The token of the session as it is now. What one person decided is never sent in the name of another. */
export async function renewToken() {
  const now = await api("/session");
  if (now.user !== meta("user")) throw new Fault(401, { detail: `${now.user} is signed in now, and this page is ${meta("user")}'s. Sign in again.`, code: "other_user" });
  csrf = now.csrf;
}

/** The sign-in page, and back to here afterwards. */
export const signIn = () => `/login?next=${encodeURIComponent(location.pathname + location.search)}`;

// Signs that turn the direction of what comes after them, and control characters: a name could show itself as another one.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
export const shown = (text) => String(text).replace(HIDDEN, "\ufffd");
/** A name that leaves room for what stands beside it. */
export const short = (text, most = 60) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const SPOKEN = ["alt", "aria-label", "title"];

/** An element: make("a", {href: "/x", class: "y", onclick: f}, "text", child). Text is never read as HTML. */
export function make(tag, props = {}, ...children) {
  const svg = ["svg", "path", "rect", "text", "g", "circle", "line", "polyline", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else node.setAttribute(name, value === true ? "" : SPOKEN.includes(name) ? shown(value) : value);
  }
  const there = children.flat().filter((c) => c !== null && c !== undefined && c !== false);
  node.append(...there.map((c) => (c instanceof Node ? c : shown(c))));
  return node;
}

/** "1 finding", "1,200 findings". */
export const some = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
export const percent = (p) => (p === null || p === undefined ? "–" : `${Math.round(100 * p)} %`);
export const clock = (time) => new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

const SAID = {
  confirm: "confirmed", change: "changed", reject: "not an object", unsure: "cannot judge", skip: "skipped", box: "box corrected",
  add: "added", undo: "undone",
};
/** What a decision says, in words. */
export function spoken(action, name) {
  const word = SAID[action] ?? action;
  if (action === "change") return `changed to ${name}`;
  return name && (action === "confirm" || action === "add") ? `${word}: ${name}` : word;
}

/** What to do where there is nothing to review. */
export function emptyStore() {
  return make("div", { class: "done-all" }, make("p", {}, "There are no findings in this store yet."),
    make("p", {}, "Start a job here, or on the server: ", make("code", {}, "toeline serve import RUN --store STORE")),
    make("p", { class: "row" }, make("a", { class: "button plain", href: "/jobs" }, "Jobs")));
}

/** A key for a decision: the server keeps one event for it, however often it is sent. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** Do what a form asks, once however often its button is pressed; what was refused is told in it. */
export function onSubmit(form, work) {
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = $("button:not([type=button])", form), said = $("[role=alert]", form);
    if (button.disabled) return;
    button.disabled = true;
    if (said) said.hidden = true;
    try {
      await work(form.elements);
    } catch (fault) {
      if (fault.code === "signed_out" && location.pathname !== "/login") location.href = signIn();
      said.textContent = shown(fault.message);
      said.hidden = false;
    } finally {
      button.disabled = false;
    }
  });
}

$("#logout")?.addEventListener("click", async () => {
  try {
    await api("/logout", { method: "POST" });
  } catch (fault) {
    if (fault.status !== 401) return alert(`You are still signed in. ${fault.message} Try again.`);
  }
  return location.assign("/login");
});
