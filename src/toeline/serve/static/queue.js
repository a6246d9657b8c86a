// Decisions on their way to the server. Each is kept in localStorage until the server has said that it has it, so that a
// reload, a lost connection or a restart of the server loses none. All tabs of a user share the queue; one of them sends.

import { api, meta, newKey } from "./api.js";

const PREFIX = `toeline.queue.${meta("user")}.`;
const MOST = 100; // decisions in a request
const LONGEST_WAIT_S = 15;
const channel = "BroadcastChannel" in window ? new BroadcastChannel(PREFIX) : null;
const memory = new Map(); // what the browser did not let us keep

export class Queue extends EventTarget {
  constructor() {
    super();
    this.state = "saved"; // saved | saving | offline | full | signed_out | other_user
    this.parsed = new Map(); // name -> [text, entry] of what lies in localStorage
    this.flying = new Set(); // keys in the request that is under way
    this.results = new Map(); // key -> {ok, event} of what this page has learned
    this.versions = new Map(); // finding -> version after the last answer
    this.pause = 0;
    this.busy = false;
    this.limit = MOST;
    for (const back of ["online", "focus"]) addEventListener(back, () => this.send()); // signed in again in another tab
    addEventListener("storage", (event) => event.key?.startsWith(PREFIX) && this.tell());
    addEventListener("beforeunload", (event) => memory.size && event.preventDefault());
    channel?.addEventListener("message", ({ data }) => this.learn(data.entry, data.answer, [], true));
  }

  /** Everything unsaved, in its order. */
  entries() {
    const found = [...memory.values()];
    for (let i = 0; i < localStorage.length; i += 1) {
      const name = localStorage.key(i);
      if (name?.startsWith(PREFIX)) found.push(this.read(name));
    }
    return found.filter(Boolean).sort((a, b) => a.at - b.at);
  }

  read(name) {
    const text = localStorage.getItem(name), before = this.parsed.get(name);
    if (before?.[0] === text) return before[1];
    let entry = null;
    try {
      entry = JSON.parse(text);
    } catch { /* not written by this page: it is no decision */ }
    this.parsed.set(name, [text, entry]);
    return entry;
  }

  keep(entry) {
    try {
      localStorage.setItem(PREFIX + entry.key, JSON.stringify(entry));
      memory.delete(entry.key);
    } catch {
      memory.set(entry.key, entry);
    }
  }

  drop(key) {
    memory.delete(key);
    this.parsed.delete(PREFIX + key);
    localStorage.removeItem(PREFIX + key);
  }

  /** Add {kind, form, finding, of}; `kind` is decide, blind or undo. The key of the entry. */
  add(kind, finding, form, of = null) {
    const waiting = this.entries();
    const before = waiting.filter((e) => e.finding === finding && finding !== null).at(-1);
    const last = waiting.at(-1)?.at ?? 0;
    const at = Math.max(Date.now(), last + 0.001);
    const entry = { key: newKey(), at, kind, finding, form, of, after: before?.key ?? null };
    this.keep(entry);
    this.tell();
    this.send();
    return entry.key;
  }

  /** Take back what was not sent yet; false when it is under way or gone. */
  cancel(key) {
    const entry = this.entries().find((e) => e.key === key);
    if (!entry || this.flying.has(key) || entry.sent) return false;
    this.drop(key);
    this.tell();
    return true;
  }

  tell() {
    this.count = this.entries().length;
    this.dispatchEvent(new Event("change"));
  }

  /** Send what waits, until nothing waits or the server cannot be reached. */
  async send() {
    if (this.busy || !this.entries().length) return;
    this.busy = true;
    clearTimeout(this.timer);
    this.state = "saving";
    this.tell();
    const alone = (work) => (navigator.locks ? navigator.locks.request(PREFIX, work) : work());
    try {
      await alone(async () => { while (await this.sendSome()); });
    } finally {
      this.busy = false;
      this.flying.clear();
      if (this.state === "saving") this.state = "saved";
      this.tell();
    }
    if (this.state === "saved" && this.entries().length) this.send();
  }

  next() {
    const all = this.entries();
    if (!all.length || all[0].kind !== "decide") return all.slice(0, 1);
    const batch = [], findings = new Set();
    for (const entry of all.slice(0, this.limit)) {
      if (entry.kind !== "decide" || findings.has(entry.finding)) break;
      if (entry.finding !== null) findings.add(entry.finding);
      batch.push(entry);
    }
    return batch;
  }

  async sendSome() {
    const batch = this.next();
    if (!batch.length) return false;
    this.flying = new Set(batch.map((e) => e.key));
    for (const entry of batch) this.keep({ ...entry, sent: true });
    try {
      const answers = await this.post(batch);
      this.pause = 0;
      const waiting = this.entries();
      batch.forEach((entry, i) => this.answered(entry, answers[i], waiting));
      this.flying.clear();
      this.tell();
      return true;
    } catch (fault) {
      this.flying.clear();
      return this.failed(batch, fault);
    }
  }

  async post(batch) {
    const [first] = batch;
    const form = (e) => ({ ...e.form, key: e.key });
    if (first.kind === "undo") return [{ status: 200, ...(await api("/undo", { method: "POST", json: form(first) })) }];
    if (first.kind === "blind") return [{ status: 200, ...(await api("/blind/decisions", { method: "POST", json: form(first) })) }];
    if (batch.length === 1) return [{ status: 200, ...(await api("/decisions", { method: "POST", json: form(first) })) }];
    return (await api("/decisions/batch", { method: "POST", json: { items: batch.map(form) } })).results;
  }

  /** True: go on. What may pass (connection, disk, log-in, limits) is tried again; what will never pass is told. */
  failed(batch, fault) {
    if (fault.status === 401) {
      this.state = fault.code === "other_user" ? fault.code : "signed_out";
      return false;
    }
    if (!fault.status || fault.status >= 500 || fault.status === 429) {
      this.state = fault.code === "full" ? "full" : "offline";
      this.pause = Math.min(LONGEST_WAIT_S, fault.wait || Math.max(1, 2 * this.pause));
      this.timer = setTimeout(() => this.send(), 1000 * this.pause);
      return false;
    }
    if (batch.length > 1) this.limit = 1; // one of them is refused: find out which
    else {
      this.answered(batch[0], { status: fault.status, fault: fault.body }, this.entries());
      this.limit = MOST;
    }
    this.tell();
    return true;
  }

  answered(entry, answer, waiting) {
    if (answer.status >= 500 || answer.status === 429) {
      const why = { detail: "", code: answer.fault?.code, ...answer };
      throw Object.assign(new Error(why.detail), { status: answer.status, code: why.code, wait: 1, body: why });
    }
    this.drop(entry.key);
    this.learn(entry, answer, waiting);
    channel?.postMessage({ entry, answer });
  }

  /** What the server said of an entry, to this tab or (`elsewhere`) to another; what waits for it is brought up to date. */
  learn(entry, answer, waiting, elsewhere = false) {
    const ok = answer.status === 200, finding = answer.finding ?? entry.finding;
    const version = ok ? answer.version : answer.fault?.item?.version;
    this.results.set(entry.key, { ok, event: answer.event });
    if (version !== undefined) this.versions.set(finding, version);
    for (const later of waiting) {
      if (later.of === entry.key && !ok) this.drop(later.key); // nothing was done, so nothing is to be undone
      else if (later.after === entry.key) {
        const form = later.kind === "decide" && ok ? { ...later.form, version } : later.form;
        this.keep({ ...later, form, after: null });
      }
    }
    this.dispatchEvent(new CustomEvent("answer", { detail: { entry, answer, ok, elsewhere } }));
  }
}
