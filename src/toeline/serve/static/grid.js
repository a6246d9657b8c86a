// The grid of crops: what is selected, where the focus is, and how keys and pointers move both.

import { make, percent, spoken } from "./api.js";
import { cropUrl, isDecided, nowClass, nowCondition } from "./words.js";

export const SHOWN = 36;

export class Grid extends EventTarget {
  constructor(root, words) {
    super();
    this.root = root;
    this.words = words;
    this.items = [];
    this.selected = new Set();
    this.at = 0; // place of the focus
    this.anchor = 0; // where a range of Shift begins
    this.tiles = new Map();
    root.addEventListener("click", (e) => this.click(e));
    root.addEventListener("dblclick", (e) => this.tell("open", this.idOf(e)));
    root.addEventListener("pointerdown", (e) => this.press(e));
    root.addEventListener("focusin", (e) => {
      const place = this.items.findIndex((i) => i.id === this.idOf(e));
      if (place >= 0 && place !== this.at) this.move(place, { focus: false });
    });
  }

  tell(name, detail) {
    if (detail !== undefined && detail !== null) this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  idOf(event) {
    const tile = event.target.closest?.("[role=option]");
    return tile ? Number(tile.dataset.id) : null;
  }

  get current() {
    return this.items[this.at];
  }

  /** What a decision is about: the selected ones, else the one with the focus. */
  get chosen() {
    const some = this.items.filter((i) => this.selected.has(i.id));
    return some.length ? some : this.current ? [this.current] : [];
  }

  /** Show these findings. The focus stays at its place, so that the next one comes under it. */
  show(items, { focus = true } = {}) {
    this.items = items;
    const here = new Set(items.map((i) => i.id));
    for (const id of this.selected) if (!here.has(id)) this.selected.delete(id);
    this.at = Math.max(0, Math.min(this.at, items.length - 1));
    this.anchor = this.at;
    const before = this.tiles;
    this.tiles = new Map(items.map((item) => {
      const kept = before.get(item.id);
      return [item.id, kept?.item === item ? kept : { item, node: this.tile(item) }];
    }));
    this.root.replaceChildren(...[...this.tiles.values()].map((t) => t.node));
    this.mark();
    if (focus) this.focus();
  }

  tile(item) {
    const name = nowClass(item) || this.words.spoken(item.type), done = isDecided(item) ? spoken(item.decision.action, nowClass(item)) : "";
    const skipped = item.decision?.action === "skip" ? "skipped before" : "";
    const image = make("img", { src: cropUrl(item, 320), alt: "", draggable: "false", decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(make("span", { class: "gone" }, "no picture")));
    const urgent = item.immediate ? make("b", { class: "flag" }, "cannot wait") : null;
    const facts = [name, item.class && !isDecided(item) ? percent(item.probability) : done, item.severity && item.severity !== "none" ? `severity ${item.severity}` : "", item.immediate ? "cannot wait" : "", item.review ? "marked for review" : "", skipped];
    return make(
      "li", { role: "option", class: `tile${isDecided(item) ? " done" : ""}`, "data-id": item.id, "aria-label": `${facts.filter(Boolean).join(", ")}, object ${item.object} on ${item.photo}` },
      make("span", { class: "picture" }, image, urgent, make("span", { class: "tick", "aria-hidden": "true" }, "✓")),
      make("span", { class: "what" }, this.words.mark(nowCondition(item)), make("span", { class: "name" }, name)),
      make("span", { class: "state" }, make("span", { class: "num" }, item.class && !done ? percent(item.probability) : ""),
        make("span", {}, done ? `✓ ${done}` : skipped || (item.review ? `? ${item.review_reason || "marked for review"}` : ""))),
    );
  }

  mark() {
    this.items.forEach((item, i) => {
      const { node } = this.tiles.get(item.id);
      node.setAttribute("aria-selected", this.selected.has(item.id));
      node.tabIndex = i === this.at ? 0 : -1;
      node.classList.toggle("at", i === this.at);
    });
    this.tell("change", this.selected.size);
  }

  focus() {
    if (this.current) this.tiles.get(this.current.id).node.focus({ preventScroll: false });
  }

  move(place, { extend = false, focus = true } = {}) {
    if (!this.items.length) return;
    this.at = Math.max(0, Math.min(this.items.length - 1, place));
    if (extend) this.range(this.anchor, this.at);
    else this.anchor = this.at;
    this.mark();
    if (focus) this.focus();
  }

  range(from, to) {
    const [low, high] = from < to ? [from, to] : [to, from];
    this.selected = new Set(this.items.slice(low, high + 1).map((i) => i.id));
  }

  toggle(id = this.current?.id) {
    if (id === undefined) return;
    if (!this.selected.delete(id)) this.selected.add(id);
    this.mark();
  }

  all() {
    const every = this.items.every((i) => this.selected.has(i.id));
    this.selected = new Set(every ? [] : this.items.map((i) => i.id));
    this.mark();
  }

  clear() {
    this.selected.clear();
    this.mark();
  }

  /** True when the key was one of the grid's. */
  key(event) {
    const across = getComputedStyle(this.root).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, Home: -this.items.length, End: this.items.length };
    if (event.key in steps) this.move(this.at + steps[event.key], { extend: event.shiftKey });
    else if (event.key === " ") this.toggle();
    else return false;
    return true;
  }

  click(event) {
    const id = this.idOf(event), place = this.items.findIndex((i) => i.id === id);
    if (place < 0 || this.dragged) return;
    if (event.shiftKey) return this.move(place, { extend: true });
    this.move(place);
    return this.toggle(id);
  }

  /** A mouse or a pen draws a frame around what is to be selected; a finger scrolls. */
  press(event) {
    this.dragged = false;
    if (event.button || event.pointerType === "touch") return;
    const start = [event.clientX, event.clientY], before = event.ctrlKey || event.metaKey || event.shiftKey ? new Set(this.selected) : new Set();
    let frame = null;
    const move = (e) => {
      if (!frame && Math.hypot(e.clientX - start[0], e.clientY - start[1]) < 8) return;
      this.dragged = true;
      frame ??= document.body.appendChild(make("div", { class: "rubber" }));
      const [x1, x2] = [start[0], e.clientX].sort((a, b) => a - b), [y1, y2] = [start[1], e.clientY].sort((a, b) => a - b);
      Object.assign(frame.style, { left: `${x1}px`, top: `${y1}px`, width: `${x2 - x1}px`, height: `${y2 - y1}px` });
      this.selected = new Set(before);
      for (const [id, { node }] of this.tiles) {
        const r = node.getBoundingClientRect();
        if (r.left < x2 && r.right > x1 && r.top < y2 && r.bottom > y1) this.selected.add(id);
      }
      this.mark();
    };
    const stop = () => {
      frame?.remove();
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", stop);
      removeEventListener("pointercancel", stop);
      if (this.dragged) this.focus();
      setTimeout(() => { this.dragged = false; });
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", stop);
    addEventListener("pointercancel", stop);
  }
}

/** Ask for pictures before they are looked at. */
const asked = new Set();
export function prefetch(urls) {
  for (const url of urls) {
    if (asked.has(url)) continue;
    asked.add(url);
    const picture = new Image();
    picture.fetchPriority = "low";
    picture.src = url;
  }
  if (asked.size > 2000) asked.clear();
}
