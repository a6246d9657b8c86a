// The taxonomy for the pages: digits of classes, names, colors and marks of conditions.

import { api, make } from "./api.js";

const DASHES = ["", "9 5", "3 4", "14 3 3 3"]; // solid, dashed, dotted, dash-dot: a condition is never told by color alone
const SHAPES = [
  "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0Z", "M0,-7.5L7.5,0L0,7.5L-7.5,0Z", "M-5.4,-5.4H5.4V5.4H-5.4Z", "M0,-7L7,6H-7Z",
];

export class Words {
  static async load() {
    return new Words(await api("/taxonomy"));
  }

  constructor(taxonomy) {
    this.types = taxonomy.types;
    this.conditions = taxonomy.conditions;
    this.severities = taxonomy.severities;
    this.classes = taxonomy.types.flatMap((t) => t.classes.map((c) => ({ ...c, type: t.name })));
    this.few = this.classes.length <= 9; // then a digit is a class, else it is the class of the object's type
  }

  spoken(type) {
    return this.types.find((t) => t.name === type)?.spoken ?? type;
  }

  /** The classes on the digits 1 to 9, for objects of these types. */
  onDigits(types) {
    if (this.few) return this.classes;
    const [type] = types;
    return this.classes.filter((c) => c.type === type).slice(0, 9);
  }

  number(condition) {
    return Math.max(0, this.conditions.findIndex((c) => c.name === condition));
  }

  color(condition) {
    return this.conditions.find((c) => c.name === condition)?.color ?? "#7a8594";
  }

  dash(condition) {
    return condition ? DASHES[this.number(condition) % DASHES.length] : "1 5";
  }

  /** The mark of a condition: shape and color. */
  mark(condition) {
    if (!condition) return make("span", { class: "mark none", "aria-hidden": "true" }, "?");
    const path = make("path", { d: SHAPES[this.number(condition) % SHAPES.length], fill: this.color(condition) });
    return make("svg", { class: "mark", viewBox: "-9 -9 18 18", "aria-hidden": "true" }, path);
  }
}

/** The class that holds now: what was decided, else what the model said. */
export const nowClass = (item) => item.decision?.class || item.class;
export const nowCondition = (item) => (item.decision?.class ? item.decision.condition : item.condition);
export const nowBox = (item) => item.decision?.box ?? item.box;
export const isDecided = (item) => Boolean(item.decision) && !["box", "skip"].includes(item.decision.action);
export const cropUrl = (item, size, margin = 0.25) =>
  `/api/v1/findings/${item.id}/crop?margin=${margin}&size=${size}&v=${item.version}`;
