// The findings of a filter in their order, loaded page by page while they are decided away.

import { api } from "./api.js";

const PER_PAGE = 108; // three grids

export class FindingList {
  /** `query` as the API's; `path` is /findings or /blind. */
  constructor(path, query) {
    this.path = path;
    this.query = query;
    this.items = [];
    this.total = 0;
    this.gone = new Map(); // decided here, so that a page that was read before the decision arrived does not bring them back
    this.ended = false;
    this.loading = null;
  }

  get leaves() {
    return this.path === "/blind" || (this.query.get("state") ?? "open") === "open";
  }

  index(id) {
    return this.items.findIndex((item) => item.id === id);
  }

  /** Load one more page, if there is one; the new items. */
  async more() {
    if (this.ended) return [];
    this.loading ??= this.load().finally(() => { this.loading = null; });
    return this.loading;
  }

  async load() {
    const waiting = [...this.gone.values()].filter((g) => !g.saved).length;
    const page = Math.floor((this.items.length + waiting) / PER_PAGE) + 1;
    const fresh = await this.read(page);
    if (fresh.length || page === 1) {
      this.ended = !fresh.length || (page === 1 && this.short);
      return fresh;
    }
    const missed = await this.read(1); // others decided meanwhile, so pages moved: look at the first once more
    this.ended = !missed.length;
    return missed;
  }

  async read(page) {
    const query = new URLSearchParams(this.query);
    query.set("page", page);
    query.set("per_page", PER_PAGE);
    const answer = await api(`${this.path}?${query}`);
    this.short = answer.items.length < PER_PAGE;
    const known = new Set(this.items.map((item) => item.id));
    const fresh = answer.items.filter((item) => !known.has(item.id) && !this.isGone(item));
    this.total = Math.max(0, answer.total - [...this.gone.values()].filter((g) => !g.saved).length);
    this.items.push(...fresh);
    return fresh;
  }

  isGone(item) {
    const gone = this.gone.get(item.id);
    return Boolean(gone) && !(gone.saved && gone.skipped);
  }

  /** Take findings out; where they stood. */
  remove(ids, { skipped = false } = {}) {
    const places = new Map(ids.map((id) => [id, this.index(id)]));
    this.items = this.items.filter((item) => !places.has(item.id));
    for (const id of ids) this.gone.set(id, { saved: false, skipped });
    if (!skipped) this.total = Math.max(0, this.total - ids.length);
    if (skipped) this.ended = false;
    return places;
  }

  /** The server has it now. */
  saved(id) {
    const gone = this.gone.get(id);
    if (gone) gone.saved = true;
  }

  /** Put findings back where they stood, the first first. */
  restore(items, places) {
    const sorted = [...items].sort((a, b) => (places?.get(a.id) ?? 0) - (places?.get(b.id) ?? 0));
    for (const item of sorted) {
      const gone = this.gone.get(item.id);
      if (gone && !gone.skipped) this.total += 1;
      this.gone.delete(item.id);
      if (this.index(item.id) < 0) this.items.splice(Math.max(0, places?.get(item.id) ?? 0), 0, item);
    }
  }

  /** Put what the server says of a finding in the place of what was known. */
  replace(item) {
    const at = this.index(item.id);
    if (at >= 0) this.items[at] = item;
  }
}
