// One finding: its crop, its photograph, and in words what is known of it.

import { $, api, clock, make, percent, shown, spoken } from "./api.js";
import { prefetch } from "./grid.js";
import { Viewer } from "./viewer.js";
import { cropUrl, isDecided, nowClass, nowCondition } from "./words.js";

const KEPT = 12; // answers of the server, for going back and forth

export class Single extends EventTarget {
  constructor(words, blind) {
    super();
    this.words = words;
    this.blind = blind;
    this.known = new Map();
    this.viewer = new Viewer($("#viewer"), words);
    $("#crop").addEventListener("error", () => { $("#crop-gone").hidden = false; $("#crop").hidden = true; });
    this.viewer.addEventListener("zoom", (e) => { $("#zoom").textContent = e.detail; });
    this.viewer.addEventListener("pick", (e) => this.open(e.detail));
  }

  open(id) {
    this.dispatchEvent(new CustomEvent("open", { detail: id }));
  }

  /** What the server says of a finding. In the blind review it is asked for the photograph alone. */
  async details(item) {
    const name = `${item.id} ${item.version}`;
    if (!this.known.has(name)) {
      const asked = this.blind ? this.masked(item) : this.asked(item);
      this.known.set(name, asked);
      asked.catch(() => this.known.delete(name));
      if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
    }
    return this.known.get(name);
  }

  /** With all boxes of the photograph; the details name the nearest alone. */
  async asked(item) {
    const said = await api(`/findings/${item.id}`);
    const all = said.neighbours.length < 20 ? said.neighbours : (await api(`/photos/${item.photo_id}`)).items;
    return { ...said, all };
  }

  async masked(item) {
    const { items: _, ...photo } = await api(`/photos/${item.photo_id}`); // with the answers of all, which are not to be seen
    return { item, photo, relations: [], neighbours: [], same_object: [], events: [], all: [] };
  }

  /** Read ahead: picture, photograph and facts of what comes next. */
  ahead(items) {
    for (const item of items) {
      prefetch([cropUrl(item, 800), this.viewer.urlOf(item.photo_id)]);
      this.details(item).catch(() => null);
    }
  }

  /** Show what is known at once, and the rest as soon as the server has told it. */
  async show(item) {
    this.item = item;
    this.opened = performance.now();
    const crop = $("#crop"), name = nowClass(item) || this.words.spoken(item.type);
    $("#crop-gone").hidden = true;
    crop.hidden = false;
    crop.src = cropUrl(item, 800);
    crop.alt = shown(`Crop of object ${item.object}: ${name}`);
    $("#single-title").textContent = shown(`${this.words.spoken(item.type)} ${item.object} · ${item.photo}`);
    if (this.photo?.id !== item.photo_id) { // what is shown is never another photograph than the finding's
      this.photo = null;
      this.viewer.clear();
    } else this.viewer.show(this.photo, [...this.viewer.items.filter((i) => i.id !== item.id), item], item);
    $("#verdict").replaceChildren(this.words.mark(nowCondition(item)), make("b", {}, this.blind ? "answer hidden" : name), " ",
      make("span", { class: "num" }, item.probability === null ? "" : percent(item.probability)), " ", this.badge(item));
    this.facts({ item, relations: [], neighbours: [], same_object: [], events: [] });
    try {
      const said = await this.details(item);
      if (this.item === item) this.complete(said);
    } catch (fault) {
      if (this.item === item) $("#facts").prepend(make("p", { class: "note" }, `${fault.message} Boxes and neighbours are not shown.`));
    }
  }

  complete(said) {
    this.photo = said.photo;
    this.facts(said);
    const around = new Map(said.all.map((i) => [i.id, i]));
    around.set(this.item.id, this.item);
    this.viewer.show(said.photo, [...around.values()], this.item);
  }

  badge(item) {
    if (!isDecided(item)) return make("span", { class: "badge" }, "○ undecided");
    return make("span", { class: "badge done" }, `✓ ${spoken(item.decision.action, nowClass(item))}, by ${item.decision.user}`);
  }

  facts(said) {
    const { item } = said, parts = [this.answers(item)];
    if (item.immediate) parts.push(make("p", { class: "note" }, make("b", {}, "Cannot wait: "), item.immediate));
    if (item.severity && item.severity !== "none") parts.push(make("p", {}, make("b", {}, `Severity ${item.severity}. `), item.action));
    if (item.review) parts.push(make("p", {}, make("b", {}, "Marked for review: "), item.review_reason));
    parts.push(this.relations(said), this.pictures("On the same photograph", said.neighbours.slice(0, 8)));
    parts.push(this.pictures("Same object on other photographs", said.same_object), this.map(said), this.events(said.events));
    $("#facts").replaceChildren(...parts.filter(Boolean));
  }

  answers(item) {
    if (this.blind) return make("p", {}, "The first answer is hidden. Say what you see.");
    const rows = Object.entries(item.probabilities).sort((a, b) => b[1] - a[1]);
    if (!rows.length) return make("p", {}, item.added ? "A person added this object." : "The model gives no probabilities here.");
    return make("section", {}, make("h3", {}, "Answers of the model"), make("ul", { class: "bars" }, rows.map(([name, p]) => {
      const condition = this.words.classes.find((c) => c.name === name)?.condition ?? "";
      const bar = make("span", { class: "bar", "aria-hidden": "true" }, make("i", { style: { width: `${100 * p}%`, background: this.words.color(condition) } }));
      return make("li", { class: name === item.class ? "said" : "" }, this.words.mark(condition), make("span", { class: "name" }, name), bar, make("span", { class: "num" }, `${(100 * p).toFixed(1)} %`));
    })));
  }

  relations({ relations, neighbours }) {
    if (!relations.length) return null;
    const named = (r) => {
      const other = neighbours.find((n) => n.id === r.other_id);
      return other ? `${nowClass(other) || this.words.spoken(other.type)} (${r.other})` : `object ${r.other}`;
    };
    const line = (r) => {
      const words = `${r.name.replaceAll("_", " ")} `, gap = r.distance ?? 1, far = gap < 0.005 ? ", touching it" : gap < 1 ? `, ${percent(gap)} of the picture's diagonal away` : "";
      const link = r.other_id ? make("button", { type: "button", class: "link", onclick: () => this.open(r.other_id) }, named(r)) : named(r);
      return make("li", {}, words, link, far);
    };
    return make("section", {}, make("h3", {}, "How it lies"), make("ul", { class: "lines" }, relations.slice(0, 12).map(line)));
  }

  pictures(title, items) {
    if (!items.length) return null;
    const one = (i) => {
      const far = i.distance_m === undefined ? "" : `, ${i.distance_m} m`, name = nowClass(i) || this.words.spoken(i.type);
      const picture = make("img", { src: cropUrl(i, 160), alt: "", loading: "lazy" });
      picture.addEventListener("error", () => picture.remove());
      return make("li", {}, make("button", { type: "button", onclick: () => this.open(i.id), title: i.photo }, picture,
        make("span", {}, `${i.object} ${name}${far}${isDecided(i) ? " ✓" : ""}`)));
    };
    return make("section", {}, make("h3", {}, title), make("ul", { class: "small-pictures" }, items.map(one)));
  }

  /** Where it lies and where the others do: north is up, the bar says how far. */
  map({ item, neighbours, same_object: same }) {
    const here = item.position;
    if (!here) return null;
    const east = 111_320 * Math.cos((here.latitude * Math.PI) / 180), north = 110_574;
    const at = (i) => [(i.position.longitude - here.longitude) * east, -(i.position.latitude - here.latitude) * north];
    const others = [...neighbours, ...same].filter((i) => i.position).map((i) => [i, ...at(i)]);
    const reach = Math.max(5, ...others.map(([, x, y]) => Math.hypot(x, y))) * 1.15, k = 90 / reach;
    const bar = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000].filter((m) => m * k <= 90).at(-1) ?? 1;
    const mark = (i, x, y, own) => make("g", { transform: `translate(${100 + x * k},${100 + y * k})${own ? " scale(1.4)" : ""}`, class: own ? "own" : "" },
      this.words.mark(nowCondition(i)).firstChild.cloneNode?.(true) ?? "", make("title", {}, `${i.object} ${nowClass(i)}`));
    const circle = here.accuracy_m ? make("circle", { cx: 100, cy: 100, r: Math.min(95, here.accuracy_m * k), class: "accuracy" }) : null;
    return make("section", {}, make("h3", {}, "Map"), make("svg", { class: "map", viewBox: "0 0 200 200", role: "img", "aria-label": `Map with ${others.length} other objects within ${Math.round(reach)} meters` },
      circle, ...others.map(([i, x, y]) => mark(i, x, y, false)), mark(item, 0, 0, true),
      make("path", { class: "rule", d: `M8,190h${bar * k}` }), make("text", { x: 8, y: 185 }, `${bar} m`), make("text", { x: 188, y: 14, "text-anchor": "end" }, "N ↑")),
      make("p", { class: "soft small num" }, `${here.latitude.toFixed(6)}, ${here.longitude.toFixed(6)}${here.accuracy_m ? ` ± ${here.accuracy_m} m` : " (place of the camera)"}`));
  }

  events(events) {
    if (!events.length) return null;
    const line = (e) => make("li", { class: e.undone ? "undone" : "" }, `${clock(e.time)}: ${e.user}, ${spoken(e.action, e.to)}${e.undone ? " (undone)" : ""}`);
    return make("section", {}, make("h3", {}, "Decisions"), make("ul", { class: "lines" }, events.map(line)));
  }
}
