// The whole photograph: zoom, pan, the boxes of all findings, and one box that is drawn or corrected.

import { make, percent, shown } from "./api.js";
import { isDecided, nowBox, nowClass, nowCondition } from "./words.js";

const STEPS = [1600, 4096, 8192]; // widths to ask for; a photograph is never enlarged, so one of up to 8192 pixels comes as it is
const SMOOTH = 2; // above this zoom pixels are shown as squares, not as a blur
const MOST = 8, STEP = 1.4; // screen pixels for a pixel of the photograph
const LEAST_SIDE = 4; // pixels of the photograph
const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];

export class Viewer extends EventTarget {
  constructor(root, words) {
    super();
    this.root = root;
    this.words = words;
    this.image = make("img", { alt: "", draggable: "false" });
    this.boxes = make("svg", {});
    this.stage = make("div", { class: "stage" }, this.image, this.boxes);
    this.fault = make("p", { class: "gone", hidden: true });
    root.append(this.stage, this.fault);
    this.scale = null; // null: the whole photograph, at whatever size the window has
    this.pointers = new Map();
    this.marks = true;
    root.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) root.addEventListener(kind, (e) => this.point(e));
    new ResizeObserver(() => this.place()).observe(root);
    addEventListener("online", () => this.place());
  }

  /** Nothing, until the next photograph is known; the zoom stays. */
  clear() {
    this.photo = this.edit = null;
    this.image.removeAttribute("src");
    this.boxes.replaceChildren();
    this.fault.hidden = true;
  }

  /** The picture of a photograph as this zoom needs it. */
  urlOf(id, width = STEPS[Math.max(0, this.step ?? 0)]) {
    return `/api/v1/photos/${id}/image?width=${width}`;
  }

  /** Show a photograph with its findings; zoom and place stay as they are, unless the finding would be out of sight. */
  show(photo, items, current) {
    const other = photo.id !== this.photo?.id;
    this.photo = photo;
    this.items = items;
    this.current = current;
    this.edit = null;
    if (other) {
      this.step = -1;
      this.image.removeAttribute("src");
      this.image.alt = shown(`Photograph ${photo.name}`);
      this.stage.style.width = `${photo.width}px`;
      this.stage.style.height = `${photo.height}px`;
      this.boxes.setAttribute("viewBox", `0 0 ${photo.width} ${photo.height}`);
    }
    this.tell(photo.there ? "" : "The photograph is not there any more, or it is another file now. Bring it back.");
    if (this.scale !== null && (other || !this.isInSight(nowBox(current)))) this.centre(nowBox(current));
    this.place();
    this.draw();
  }

  tell(text) {
    this.fault.textContent = text;
    this.fault.hidden = !text;
  }

  get fitting() {
    const { width, height } = this.photo;
    return Math.min(this.root.clientWidth / width, this.root.clientHeight / height);
  }

  get now() {
    return this.scale ?? this.fitting;
  }

  isInSight([x1, y1, x2, y2]) {
    const s = this.now;
    const left = -this.x / s, top = -this.y / s;
    return x1 >= left && y1 >= top && x2 <= left + this.root.clientWidth / s && y2 <= top + this.root.clientHeight / s;
  }

  centre([x1, y1, x2, y2]) {
    this.x = this.root.clientWidth / 2 - ((x1 + x2) / 2) * this.now;
    this.y = this.root.clientHeight / 2 - ((y1 + y2) / 2) * this.now;
  }

  place() {
    if (!this.photo || !this.root.clientWidth) return;
    const s = this.now, wide = this.photo.width * s, high = this.photo.height * s;
    const within = (at, size, room) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at)));
    this.x = within(this.x ?? 0, wide, this.root.clientWidth);
    this.y = within(this.y ?? 0, high, this.root.clientHeight);
    this.stage.style.transform = `translate(${this.x}px, ${this.y}px) scale(${s})`;
    this.image.style.imageRendering = s * devicePixelRatio > SMOOTH ? "pixelated" : "";
    this.stage.style.setProperty("--u", 1 / s); // one screen pixel, in pixels of the photograph
    this.load(s);
    this.dispatchEvent(new CustomEvent("zoom", { detail: this.scale === null ? "fit" : percent(s) }));
  }

  /** Take the smallest picture that is sharp at this zoom, and keep the one before until it is there. */
  load(s) {
    const sharp = STEPS.findIndex((w) => w >= this.photo.width || w * 1.2 >= this.photo.width * s * devicePixelRatio);
    const wanted = sharp < 0 ? STEPS.length - 1 : sharp, before = this.step;
    if (wanted <= before || !this.photo.there) return;
    this.step = wanted;
    const photo = this.photo, picture = new Image(), still = () => photo.id === this.photo?.id && this.step === wanted;
    picture.src = this.urlOf(photo.id);
    picture.decode().then(() => {
      if (!still()) return;
      this.image.src = picture.src;
      this.tell("");
    }, () => {
      if (!still()) return;
      this.step = before; // asked again with the next zoom, and when there is a connection
      this.tell("The photograph could not be loaded: there is no connection, or it is not there any more. Zoom to try again.");
    });
    if (!this.image.hasAttribute("src")) this.image.src = this.urlOf(photo.id, STEPS[0]);
  }

  /** Zoom about a place of the window. */
  zoom(factor, cx = this.root.clientWidth / 2, cy = this.root.clientHeight / 2) {
    if (!this.photo) return;
    const before = this.now, after = Math.min(MOST, before * factor);
    if (after <= this.fitting) return this.fit();
    this.x = cx - ((cx - this.x) / before) * after;
    this.y = cy - ((cy - this.y) / before) * after;
    this.scale = after;
    this.place();
  }

  /** Zoom in with the finding in the middle, for keys and buttons. */
  step1(inward) {
    if (!this.photo) return;
    if (inward && this.scale === null && this.current) {
      this.scale = this.fitting * STEP;
      this.centre(this.edit ?? nowBox(this.current));
      this.place();
    } else this.zoom(inward ? STEP : 1 / STEP);
  }

  fit() {
    this.scale = null;
    this.place();
  }

  pan(dx, dy) {
    if (!this.photo) return;
    this.x += dx;
    this.y += dy;
    this.place();
  }

  wheel(event) {
    if (!this.photo) return;
    event.preventDefault();
    const at = this.root.getBoundingClientRect();
    this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), event.clientX - at.left, event.clientY - at.top);
  }

  /** From the window to pixels of the photograph. */
  inPhoto(event) {
    const at = this.root.getBoundingClientRect(), { width, height } = this.photo;
    const cut = (v, most) => Math.min(most, Math.max(0, v));
    return [cut((event.clientX - at.left - this.x) / this.now, width), cut((event.clientY - at.top - this.y) / this.now, height)];
  }

  point(event) {
    if (!this.photo) return;
    if (event.type === "pointerdown") {
      this.root.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      this.moved = 0;
      this.pressed = event.target.closest?.("[data-id], [data-handle]");
      this.grip = this.edit && this.pointers.size === 1 ? this.gripped(event) : null;
      return;
    }
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    if (event.type === "pointermove") this.drag(event, before);
    else {
      this.pointers.delete(event.pointerId);
      const id = Number(this.pressed?.dataset.id);
      if (event.type === "pointerup" && this.moved < 5 && id && !this.edit) this.dispatchEvent(new CustomEvent("pick", { detail: id }));
      this.grip = null;
    }
  }

  drag(event, before) {
    const now = [event.clientX, event.clientY], dx = now[0] - before[0], dy = now[1] - before[1];
    this.moved += Math.abs(dx) + Math.abs(dy);
    if (this.pointers.size === 2) {
      const [, other] = [...this.pointers].find(([id]) => id !== event.pointerId);
      const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      const at = this.root.getBoundingClientRect();
      this.grip = null;
      this.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2 - at.left, (now[1] + other[1]) / 2 - at.top);
    } else if (this.grip) this.stretch(this.inPhoto(event));
    else if (this.moved > 3) this.pan(dx, dy);
    this.pointers.set(event.pointerId, now);
  }

  /** What a pointer takes hold of: a handle, the box, or the place where a new box begins. */
  gripped(event) {
    const handle = this.pressed?.dataset.handle, from = this.inPhoto(event);
    return { handle: handle ?? "new", from, box: [...this.edit] };
  }

  stretch([x, y]) {
    const { handle, from, box } = this.grip;
    let [x1, y1, x2, y2] = box;
    if (handle === "new") [x1, y1, x2, y2] = [...from, x, y];
    else if (handle === "move") {
      const dx = Math.max(-x1, Math.min(this.photo.width - x2, x - from[0])), dy = Math.max(-y1, Math.min(this.photo.height - y2, y - from[1]));
      [x1, y1, x2, y2] = [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
    } else {
      if (handle.includes("w")) x1 = x;
      if (handle.includes("e")) x2 = x;
      if (handle.includes("n")) y1 = y;
      if (handle.includes("s")) y2 = y;
    }
    this.setEdit([Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)]);
  }

  setEdit(box) {
    this.edit = box;
    this.draw();
    this.dispatchEvent(new CustomEvent("edit", { detail: box }));
  }

  /** By keys: move the box by so many screen pixels, or with `size` its right lower corner. */
  nudge(dx, dy, size) {
    const u = 1 / this.now, { width, height } = this.photo;
    const [x1, y1, x2, y2] = this.edit;
    const limit = (v, low, high) => Math.min(high, Math.max(low, v));
    if (size) return this.setEdit([x1, y1, limit(x2 + dx * u, x1 + LEAST_SIDE, width), limit(y2 + dy * u, y1 + LEAST_SIDE, height)]);
    const mx = limit(dx * u, -x1, width - x2), my = limit(dy * u, -y1, height - y2);
    return this.setEdit([x1 + mx, y1 + my, x2 + mx, y2 + my]);
  }

  get editIsBox() {
    return this.edit !== null && this.edit[2] - this.edit[0] >= LEAST_SIDE && this.edit[3] - this.edit[1] >= LEAST_SIDE;
  }

  startEdit() {
    this.setEdit(nowBox(this.current).map((v) => v));
  }

  stopEdit() {
    this.edit = null;
    this.draw();
  }

  draw() {
    this.root.classList.toggle("editing", this.edit !== null);
    this.boxes.style.visibility = this.marks || this.edit ? "" : "hidden";
    const others = this.items.filter((i) => i.id !== this.current.id);
    const drawn = [...others, this.current].map((item) => this.box(item));
    this.boxes.replaceChildren(...drawn, ...(this.edit ? this.editor() : []));
  }

  box(item) {
    const [x1, y1, x2, y2] = nowBox(item), condition = nowCondition(item), current = item.id === this.current.id;
    const at = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
    const text = `${item.object} ${nowClass(item) || this.words.spoken(item.type)}${isDecided(item) ? " ✓" : ""}`;
    const label = make("text", { x: x1, y: y1, dy: "-0.35em" }, text);
    return make(
      "g", { class: `box${current ? " current" : ""}${this.edit && current ? " faint" : ""}`, "data-id": item.id }, make("title", {}, text),
      make("rect", { ...at, class: "under" }),
      make("rect", { ...at, class: "line", stroke: this.words.color(condition), "stroke-dasharray": this.words.dash(condition) }), label,
    );
  }

  editor() {
    const [x1, y1, x2, y2] = this.edit, xs = { w: x1, e: x2 }, ys = { n: y1, s: y2 };
    const frame = make("rect", { class: "edit", x: x1, y: y1, width: x2 - x1, height: y2 - y1, "data-handle": "move" });
    return [frame, ...HANDLES.map((h) => make("circle", {
      class: "handle", "data-handle": h, style: { cursor: `${h}-resize` },
      cx: xs[[...h].find((c) => c in xs)] ?? (x1 + x2) / 2, cy: ys[[...h].find((c) => c in ys)] ?? (y1 + y2) / 2,
    }))];
  }
}
