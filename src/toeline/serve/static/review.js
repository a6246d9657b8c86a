// The review: a grid of crops or one finding, decided by keys, saved in the background.

import { $, Fault, api, clock, emptyStore, make, mayWrite, meta, short, shown as plain, signIn, some, spoken } from "./api.js";
import { Grid, SHOWN, prefetch } from "./grid.js";
import { FindingList } from "./list.js";
import { Queue } from "./queue.js";
import { Single } from "./single.js";
import { Words, cropUrl, isDecided, nowClass } from "./words.js";

const FILTERS = ["sort", "state", "type", "class", "condition", "severity", "review", "inspection", "q", "photo", "user", "action"];
const TAKES = ["confirm", "change", "reject", "unsure"]; // after these a finding is decided
const LOOK_S = 10; // how often others' decisions are asked for
const MOST_NOTES = 50;
const AGAIN_MS = 4000; // within this a digit is pressed again to change the type of an object
const blind = location.pathname === "/blind";
const queue = new Queue();

const state = {
  view: blind ? "single" : "grid",
  list: null, // FindingList
  start: 0, // first of the shown window of it
  item: null, // of the single view
  place: 0, // where it stood in the list
  groups: [], // what one key decided, for undo: [{keys, items, places}]
  since: performance.now(), // when what is decided came on the screen
  asked: null, // a digit that waits to be pressed again
  lastEvent: null,
  total: null, // findings in the store
};
let words, grid, single;

// ---------------------------------------------------------------- what is said

const tell = (text) => { $("#said").textContent = plain(text); };

/** Something that needs a look; it stays until it is dismissed. */
function warn(text, ...actions) {
  const note = make("div", { class: "note" }, make("p", {}, text));
  const notes = $("#faults"), button = (word, act) => make("button", { type: "button", class: "plain", onclick: () => { act(); restFocus(); } }, word);
  note.append(make("div", { class: "row" }, ...actions, button("Dismiss", () => note.remove()), button("Dismiss all", () => notes.replaceChildren())));
  notes.append(note);
  while (notes.children.length > MOST_NOTES) notes.firstChild.remove();
}

function showSaved() {
  const n = queue.count ?? 0, kept = "kept in this browser";
  const said = {
    saved: n ? `↻ Saving ${n}` : "✓ All saved",
    saving: `↻ Saving ${some(n, "decision")}`,
    offline: `⚠ No connection: ${some(n, "decision")} not saved yet, ${kept}. Go on; they are sent as soon as the server answers.`,
    full: `⚠ The server's disk is full: ${some(n, "decision")} not saved yet, ${kept}.`,
    signed_out: `⚠ You are signed out: ${some(n, "decision")} not saved yet, ${kept}.`,
    other_user: `⚠ Somebody else is signed in now: ${some(n, "decision")} of ${meta("user")} not saved yet, ${kept}.`,
  }[queue.state];
  const quiet = ["saved", "saving"].includes(queue.state) || !n;
  $("#saved").textContent = quiet && !n ? "✓ All saved" : said;
  $("#saved").dataset.state = quiet ? "quiet" : "warn";
  $("#saved").dataset.count = n;
  if (["signed_out", "other_user"].includes(queue.state) && n) $("#saved").append(" ", make("a", { href: signIn() }, "Sign in"));
}

/** What a decision does to a report that is signed, said before it and after it. */
async function showSigned() {
  const { items } = await api("/signoffs"), wanted = state.list.query.get("inspection");
  const last = items.filter((s, i) => items.findIndex((o) => o.inspection === s.inspection) === i && (!wanted || String(s.inspection) === wanted));
  const open = last.filter((s) => !s.valid);
  const again = (s) => [make("b", {}, `⚠ ${s.inspection_name}, signed by ${s.name}, is reopened: `), `${s.reopened.user} decided after that (${clock(s.reopened.time)}). `, make("a", { href: `/sign-off?inspection=${s.inspection}` }, "Sign it again")];
  const told = open.length ? open.map((s) => make("p", { class: "note" }, again(s))) : wanted ? last.map((s) => make("p", { class: "soft" }, `✓ Signed by ${s.name}, ${clock(s.time)}. A decision reopens it.`)) : [];
  $("#signed").replaceChildren(...told);
}

async function showProgress() {
  clearTimeout(showProgress.timer);
  try {
    const inspection = state.list.query.get("inspection");
    const said = await api(`/progress${inspection ? `?inspection=${inspection}` : ""}`);
    if (!inspection && state.total !== said.total) {
      state.total = said.total;
      if (!said.total && state.view === "grid") showEmpty();
    }
    $("#bar").max = Math.max(1, said.total);
    $("#bar").value = said.decided;
    $("#count").textContent = `${said.decided.toLocaleString("en")} of ${some(said.total, "finding")} decided`;
    state.lastEvent ??= said.last_event;
    if (!blind) await showSigned();
  } catch { /* the status line tells of a lost connection */ }
}

// ---------------------------------------------------------------- filters, in the address

function readFilters() {
  const query = new URLSearchParams(location.search), form = $("#filters");
  for (const name of FILTERS) if (form.elements[name]) form.elements[name].value = query.get(name) ?? form.elements[name].querySelector?.("option")?.value ?? "";
  const set = FILTERS.filter((n) => n !== "sort" && n !== "state" && query.get(n)).length;
  $("#filter-count").textContent = set ? `(${set})` : "";
}

function queryOfForm() {
  const query = new URLSearchParams(), old = new URLSearchParams(location.search);
  for (const name of FILTERS) {
    const field = $("#filters").elements[name], value = field ? field.value : old.get(name);
    if (value && !(name === "sort" && value === "urgent") && !(name === "state" && value === "open")) query.set(name, value);
  }
  return query;
}

/** Another filter: the grid of it. */
function filterBy(query) {
  history.pushState(null, "", address("/review", query));
  Object.assign(state, { view: "grid", item: null });
  stopBox();
  readFilters();
  return load();
}

const address = (path, query) => (query.size ? `${path}?${query}` : path);

async function fillFilters() {
  const form = $("#filters"), add = (name, pairs) => pairs.forEach(([value, text]) => form.elements[name].append(make("option", { value }, text)));
  add("type", words.types.map((t) => [t.name, t.spoken]));
  add("class", words.classes.map((c) => [c.name, c.name]));
  add("condition", words.conditions.map((c) => [c.name, c.name]));
  add("severity", words.severities.map((s) => [s.name, s.name]));
  try {
    add("inspection", (await api("/inspections")).items.map((i) => [i.id, short(i.name)]));
  } catch { /* then there is one choice: all */ }
}

function showExports() {
  const query = new URLSearchParams(state.list.query);
  for (const name of ["sort", "state"]) query.delete(name);
  const chosen = state.list.query.get("state") ?? "";
  if (chosen) query.set("state", chosen);
  const links = [["csv", "CSV"], ["geojson", "GeoJSON"], ["coco.json", "COCO"], ["yolo.zip", "YOLO"]];
  const of = chosen && chosen !== "open" ? chosen : "decided";
  if (of === "decided") query.delete("state");
  $("#exports > div").replaceChildren(make("span", { class: "soft small" }, `${of} findings of this filter`),
    ...links.map(([end, name]) => make("a", { href: `/api/v1${address(`/findings.${end}`, query)}`, download: true }, name)));
}

/** Begin a list; the view stays. */
async function load() {
  const query = new URLSearchParams(location.search);
  state.list = new FindingList(blind ? "/blind" : "/findings", query);
  const unsaved = queue.entries().filter((e) => e.kind !== "undo" && e.form.action !== "box" && e.form.action !== "add");
  for (const entry of unsaved) state.list.gone.set(entry.finding, { saved: false, skipped: entry.form.action === "skip" });
  if (!state.list.leaves) state.list.gone.clear();
  state.start = 0;
  grid.clear();
  grid.at = 0;
  showExports();
  await fill();
  showProgress();
}

/** See to it that the window of the list is full, and the one after it too. */
async function fill() {
  const { list } = state;
  try {
    while (list.items.length < state.start + 2 * SHOWN && !list.ended) {
      const fresh = await list.more();
      list.fault = null;
      if (list !== state.list) return;
      if (fresh.length) show({ focus: false });
      else break;
    }
  } catch (fault) {
    if (fault.code === "signed_out") location.href = signIn();
    if (!list.items.length) list.fault = fault;
  }
  show({ focus: false });
}

// ---------------------------------------------------------------- views

const shown = () => state.list.items.slice(state.start, state.start + SHOWN);

function show({ focus = true } = {}) {
  if (state.start && state.start >= state.list.items.length) state.start = Math.max(0, state.start - SHOWN);
  $("#grid-view").hidden = state.view !== "grid";
  $("#single-view").hidden = state.view !== "single";
  document.body.dataset.view = state.view;
  if (state.view === "grid") {
    const focused = document.activeElement === document.body || $("#grid").contains(document.activeElement);
    grid.show(shown(), { focus: focus || focused });
    showEmpty();
    prefetch(state.list.items.slice(state.start + SHOWN, state.start + 2 * SHOWN).map((i) => cropUrl(i, 320)));
  } else if (!state.item && state.list.items.length) openSingle(state.list.items[0], { push: false });
  else if (!state.item) showNothing();
  showChoices();
}

function showEmpty() {
  const n = state.list.items.length, last = Math.min(n, state.start + SHOWN);
  const turn = (by, text, key) => make("button", { type: "button", class: "plain", onclick: () => page(by) }, text, " ", make("kbd", {}, key));
  const parts = [];
  if (n > SHOWN || state.start) {
    parts.push(make("span", { class: "num" }, `${state.start + 1}–${last} of ${Math.max(state.list.total, n).toLocaleString("en")}`));
    if (state.start) parts.unshift(turn(-1, "‹ Back", "PageUp"));
    if (last < n || !state.list.ended) parts.push(turn(1, "More ›", "PageDown"));
  } else if (!n && state.list.fault) parts.push(notRead(state.list.fault));
  else if (!n && state.list.ended) parts.push(nothing());
  $("#empty").replaceChildren(...parts);
  $("#empty").hidden = !parts.length;
}

/** The list could not be read: there is no connection, or the address asks for what there is not. */
function notRead(fault) {
  const again = make("button", { type: "button", class: "plain", onclick: load }, "Try again"), all = make("a", { class: "button plain", href: "/review" }, "All undecided findings");
  return make("div", { class: "done-all" }, make("p", {}, fault.message), make("p", { class: "row" }, fault.status === 422 ? all : again));
}

function nothing() {
  if (state.total === 0 && !blind) return emptyStore();
  const filtered = [...state.list.query.keys()].some((n) => n !== "sort");
  const text = blind ? "Nothing is left of the sample for you. Thank you." : filtered ? "No finding matches these filters." : "Everything is decided. Look at the progress, or sign the inspection.";
  const links = blind ? [["/agreement", "Agreement"]] : filtered ? [["/review", "All undecided findings"]] : [["/progress", "Progress"], ["/sign-off", "Sign-off"]];
  return make("div", { class: "done-all" }, make("p", {}, text), make("p", { class: "row" }, links.map(([href, name]) => make("a", { class: "button plain", href }, name))));
}

function showNothing() {
  if (!state.list.ended && !state.list.fault) return;
  $(".single").hidden = true;
  document.body.classList.add("is-done");
  $("#single-title").replaceChildren(state.list.ended ? nothing() : notRead(state.list.fault));
}

async function page(by) {
  const to = Math.max(0, state.start + by * SHOWN);
  if (to >= state.list.items.length) await fill();
  if (to >= state.list.items.length) return tell("This is the last page.");
  state.start = to;
  grid.at = 0;
  grid.clear();
  show();
  scrollTo(0, 0);
  return fill();
}

function openSingle(item, { push = true, focus = true } = {}) {
  const place = state.list.index(item.id);
  if (place >= 0) state.place = place;
  state.item = item;
  state.view = "single";
  $(".single").hidden = false;
  document.body.classList.remove("is-done");
  if (push && !blind) history.pushState(null, "", address(`/findings/${item.id}`, state.list.query));
  const others = $("#grid-view").hidden === false;
  $("#grid-view").hidden = true;
  $("#single-view").hidden = false;
  document.body.dataset.view = "single";
  stopBox();
  single.show(item);
  const at = place >= 0 ? place + 1 : state.place;
  single.ahead(state.list.items.slice(at, at + 2));
  showChoices();
  if (focus || others) restFocus();
}

async function openById(id, { push = true } = {}) {
  const known = state.list.items.find((i) => i.id === id);
  if (known) return openSingle(known, { push });
  try {
    return openSingle((await api(`/findings/${id}`)).item, { push });
  } catch (fault) {
    warn(fault.message);
    return toGrid();
  }
}

function toGrid({ push = true } = {}) {
  if (blind) return tell("The second review shows one finding at a time.");
  const { item } = state;
  Object.assign(state, { view: "grid", item: null });
  document.body.classList.remove("is-done");
  if (push) history.pushState(null, "", address("/review", state.list.query));
  const place = item ? state.list.index(item.id) : state.place;
  const at = place < 0 ? Math.min(state.place, Math.max(0, state.list.items.length - 1)) : place;
  state.start = SHOWN * Math.floor(at / SHOWN);
  grid.at = at - state.start;
  show();
  return fill();
}

function step(by) {
  const here = state.item ? state.list.index(state.item.id) : -1;
  const to = here >= 0 ? here + by : by > 0 ? state.place : state.place - 1;
  const next = state.list.items[to];
  if (!next) return tell(by > 0 ? "This is the last finding of this list." : "This is the first finding of this list.");
  openSingle(next);
  return fill();
}

/** Keys go on working after a click: the focus returns to what is decided about. */
function restFocus() {
  if (state.view === "grid") grid.focus();
  else $("#single-title").focus({ preventScroll: true });
}

// ---------------------------------------------------------------- decisions

const chosen = () => (state.view === "grid" ? grid.chosen : state.item ? [state.item] : []);

/** Seconds on the screen for each of `n`: what one key decides together shares them. */
function seconds(n) {
  const from = state.view === "single" ? single.opened : state.since, now = performance.now();
  state.since = now;
  return Math.min(86_400, Math.round((now - from) / n) / 1000);
}

const version = (item) => Math.max(item.version, queue.versions.get(item.id) ?? 0);

function decide(action, className = "") {
  const items = chosen();
  if (!mayWrite) return tell("You may look, and not decide. Ask an engineer for the role reviewer.");
  if (!items.length) return tell("Nothing is chosen.");
  const without = action === "confirm" ? items.filter((i) => !nowClass(i)) : [];
  if (blind && action === "confirm") return tell("The answer is hidden: choose a class.");
  if (blind && action === "skip") return step(1);
  if (without.length) return tell(`${some(without.length, "finding")} without an answer of the model: choose a class.`);
  const each = seconds(items.length);
  const group = { items, keys: [], places: state.list.leaves ? state.list.remove(items.map((i) => i.id), { skipped: action === "skip" }) : new Map() };
  for (const item of items) {
    // A class that stands already is confirmed, not changed: the two are counted apart.
    const act = action === "change" && className === nowClass(item) && !blind ? "confirm" : action;
    const form = { finding: item.id, action: act, seconds: each };
    if (!blind) form.version = version(item);
    if (act === "change") form.class = className;
    group.keys.push(queue.add(blind ? "blind" : "decide", item.id, form));
    if (!state.list.leaves) state.list.replace(decided(item, act, className));
  }
  state.groups.push(group);
  afterDecision(items, action, className);
  return true;
}

/** A finding as it will be when the server has the decision. */
function decided(item, action, className) {
  const kept = action === "confirm" ? nowClass(item) : action === "change" ? className : "";
  const condition = words.classes.find((c) => c.name === kept)?.condition ?? "";
  return { ...item, decision: { event: 0, action, class: kept, condition, box: item.decision?.box ?? null, user: meta("user"), time: new Date().toISOString(), seconds: 0 } };
}

function afterDecision(items, action, className) {
  const what = items.length === 1 ? `${words.spoken(items[0].type)} ${items[0].object}` : some(items.length, "finding");
  const said = { confirm: "confirmed", change: `is now ${className}`, reject: "not an object", unsure: "cannot judge", skip: "skipped, it comes back at the end" }[action];
  if (state.view === "single") {
    const next = state.list.leaves ? state.list.items[state.place] ?? state.list.items[state.place - 1] : state.list.items[state.place + 1];
    state.item = null;
    if (next) openSingle(next, { push: false, focus: true });
    else if (!state.list.leaves && state.list.items[state.place]) openSingle(state.list.items[state.place], { push: false });
    if (next && !blind) history.replaceState(null, "", address(`/findings/${next.id}`, state.list.query));
    if (!next && state.list.leaves) (blind ? show() : toGrid());
  } else {
    const places = items.map((one) => grid.items.findIndex((i) => i.id === one.id));
    grid.at = state.list.leaves ? Math.min(...places) : Math.min(Math.max(...places) + 1, grid.items.length - 1);
    grid.clear();
    show();
  }
  tell(`${what}: ${said}. ${some(Math.max(state.list.total, state.list.items.length), "finding")} left in this list.`);
  fill();
}

/** The digit of a class; for an object of another type it has to be pressed twice. */
function digit(n) {
  const items = chosen(), one = words.onDigits(items.map((i) => i.type))[n - 1];
  if (!one || !items.length) return tell(one ? "Nothing is chosen." : `No class is on ${n}.`);
  const foreign = items.filter((i) => i.type !== one.type);
  const name = `${n} ${items.map((i) => i.id)}`;
  if (foreign.length && !blind && !(state.asked?.name === name && performance.now() - state.asked.at < AGAIN_MS)) {
    state.asked = { name, at: performance.now() };
    return tell(`${n} is ${one.name}, and ${foreign.length === 1 ? "this is a" : `${foreign.length} of these are:`} ${words.spoken(foreign[0].type)}. Press ${n} again to change the type.`);
  }
  state.asked = null;
  return decide("change", one.name);
}

async function undo() {
  if (!mayWrite) return;
  if (blind) return tell("An answer of the second review cannot be undone.");
  const group = state.groups.pop();
  const keys = group ? [...group.keys] : queue.entries().filter((e) => e.kind === "decide" && !e.sent).slice(-1).map((e) => e.key);
  if (!keys.length) return queue.add("undo", null, {}); // decided before this page was loaded
  for (const key of keys.reverse()) {
    const result = queue.results.get(key), entry = queue.entries().find((e) => e.key === key);
    if (result ? !result.ok : !entry) continue; // it was refused, so there is nothing to undo
    const finding = group ? group.items[group.keys.indexOf(key)]?.id ?? null : entry.finding;
    if (!queue.cancel(key)) queue.add("undo", finding, {}, key);
    if (!group) state.list.gone.delete(finding);
  }
  if (!group) { tell("Undone before it was sent."); return load(); }
  if (state.list.leaves) state.list.restore(group.items, group.places);
  else group.items.forEach((i) => state.list.replace(i));
  tell(`Undone: ${group.items.length === 1 ? `${words.spoken(group.items[0].type)} ${group.items[0].object}` : some(group.items.length, "finding")} is back.`);
  const [first] = group.items;
  if (state.view === "single") return openSingle(state.list.items.find((i) => i.id === first.id) ?? first, { push: false });
  state.start = SHOWN * Math.floor(Math.max(0, state.list.index(first.id)) / SHOWN);
  grid.at = Math.max(0, state.list.index(first.id) - state.start);
  return show();
}

// ---------------------------------------------------------------- answers of the server

queue.addEventListener("change", showSaved);
queue.addEventListener("answer", ({ detail: { entry, answer, ok, elsewhere } }) => {
  if (!state.list || (elsewhere && !ok)) return;
  if (elsewhere && entry.kind === "decide") decidedElsewhere(entry);
  if (ok && entry.kind === "undo") undone(answer);
  else if (ok) state.list.saved(entry.finding);
  else refused(entry, answer.fault ?? {});
  if (ok && entry.form?.action === "add") tell("The new object is saved.");
  if (entry.form?.action === "box" || entry.form?.action === "add") reread(answer.finding ?? entry.finding);
  clearTimeout(showProgress.timer);
  showProgress.timer = setTimeout(showProgress, 300);
});

/** The same person decided it in another tab: it leaves this one's list, as it would have here. */
function decidedElsewhere({ finding, form }) {
  if (!state.list.leaves || !TAKES.includes(form.action) || state.list.index(finding) < 0 || state.item?.id === finding) return;
  state.list.remove([finding]);
  show({ focus: false });
  fill();
}

/** The server's word on a finding that was undone. */
function undone({ item, finding }) {
  if (!item) return;
  single.known.clear();
  const isOpen = !isDecided(item);
  if (state.list.index(finding) >= 0) state.list.replace(item);
  else if (isOpen || !state.list.leaves) {
    state.list.restore([item], new Map([[finding, state.start]]));
    tell(`Undone: ${words.spoken(item.type)} ${item.object} on ${item.photo} is back.`);
  }
  if (state.item?.id === finding) openSingle(item, { push: false });
  else if (state.view === "grid") show({ focus: false });
}

function refused(entry, fault) {
  const { first, item } = fault;
  if (entry.kind === "undo") return warn(fault.code === "nothing" ? "There is nothing of yours to undo." : `Not undone: ${fault.detail}`);
  if (fault.code === "stale" && first) {
    const mine = spoken(entry.form.action, entry.form.class ?? "the answer of the model");
    const who = first.user === meta("user") ? "You, in another window," : first.user;
    const text = `${who} decided this first: ${spoken(first.action, first.class)}, at ${clock(first.time)}. Your answer (${mine}) was not saved.`;
    warn(text, item ? make("button", { type: "button", class: "plain", onclick: () => { single.known.clear(); openSingle(item); } }, "Look at it") : "");
    if (item && !isDecided(item)) { state.list.restore([item], new Map()); show({ focus: false }); }
    return null;
  }
  warn(`Not saved: ${fault.detail ?? "the server refused it"}`, make("button", { type: "button", class: "plain", onclick: () => openById(entry.finding) }, "Look at it"));
  return load();
}

/** A box was corrected or an object added: read it again. */
async function reread(finding) {
  single.known.clear();
  try {
    const { item } = await api(`/findings/${finding}`);
    state.list.replace(item);
    if (state.item && (state.item.id === finding || state.item.photo_id === item.photo_id)) single.show(state.item.id === finding ? (state.item = item) : state.item);
  } catch { /* offline: it is shown with the next finding */ }
}

/** Take out what others have decided meanwhile. */
async function look() {
  if (document.hidden || blind || queue.state === "offline" || state.lastEvent === null) return;
  try {
    const { items, last } = await api(`/events?after=${state.lastEvent}&limit=1000`);
    state.lastEvent = last;
    const others = items.filter((e) => e.user !== meta("user") && TAKES.includes(e.action) && !e.undone);
    const here = others.filter((e) => state.list.index(e.finding) >= 0 && e.finding !== state.item?.id);
    if (!state.list.leaves || !here.length) return;
    const taken = here.map((e) => e.finding);
    state.list.remove(taken);
    taken.forEach((id) => state.list.saved(id));
    tell(`${[...new Set(here.map((e) => e.user))].join(", ")} decided ${some(taken.length, "finding")} of this list.`);
    show({ focus: false });
    fill();
    showProgress();
  } catch { /* asked again later */ }
}

// ---------------------------------------------------------------- boxes

function startBox() {
  if (state.view !== "single" || !mayWrite || blind) return tell("Open one finding first, then draw its box.");
  if (!single.photo) return tell("The photograph is not there yet; its box can be drawn when it is.");
  if (single.viewer.edit) return stopBox();
  single.viewer.startEdit();
  const { item } = state, select = make("select", { "aria-label": "Class of the new object" }, words.classes.map((c) => make("option", { value: c.name, selected: c.name === nowClass(item) }, c.name)));
  const button = (text, key, act, main) => make("button", { type: "button", class: main ? "main" : "plain", onclick: act }, text, " ", key ? make("kbd", {}, key) : "");
  $("#editor").replaceChildren(
    make("p", {}, "Drag the handles, or draw a new frame. Arrows move the box, Shift and arrows change its size."),
    make("div", { class: "row" }, button("Save as the box of this finding", "Enter", saveBox, true), make("span", { class: "joined" }, select, button("Add as a new object", "", () => addBox(select.value))), button("Cancel", "Esc", stopBox)),
  );
  $("#editor").hidden = false;
  $('[data-do="draw"]').setAttribute("aria-pressed", "true");
  return $("#viewer").focus({ preventScroll: true });
}

function stopBox() {
  if (single.viewer.edit) single.viewer.stopEdit();
  $("#editor").hidden = true;
  $('[data-do="draw"]').setAttribute("aria-pressed", "false");
}

const rounded = (box) => box.map((v) => Math.round(10 * v) / 10);

function saveBox() {
  if (!single.viewer.editIsBox) return tell("The box is too small. Draw it anew.");
  const { item } = state, box = rounded(single.viewer.edit);
  const key = queue.add("decide", item.id, { finding: item.id, version: version(item), action: "box", box, seconds: seconds(1) });
  state.groups.push({ items: [item], keys: [key], places: new Map([[item.id, state.place]]) });
  const decision = item.decision ? { ...item.decision, box } : { event: 0, action: "box", class: "", condition: "", box, user: meta("user"), time: "", seconds: 0 };
  state.item = { ...item, decision };
  state.list.replace(state.item);
  stopBox();
  single.item = state.item;
  single.viewer.show(single.photo, single.viewer.items.map((i) => (i.id === item.id ? state.item : i)), state.item);
  restFocus();
  tell("The box is corrected. The class is still to be decided.");
  return true;
}

function addBox(className) {
  if (!single.viewer.editIsBox) return tell("The box is too small. Draw it anew.");
  const key = queue.add("decide", null, { photo: single.photo.id, action: "add", class: className, box: rounded(single.viewer.edit), version: 0, seconds: seconds(1) });
  state.groups.push({ items: [state.item], keys: [key], places: new Map([[state.item.id, state.place]]) });
  stopBox();
  restFocus();
  return tell(`Added: ${className}.`);
}

// ---------------------------------------------------------------- keys and buttons

const DO = {
  confirm: () => (single.viewer.edit ? saveBox() : decide("confirm")),
  reject: () => decide("reject"),
  unsure: () => decide("unsure"),
  skip: () => decide("skip"),
  undo,
  all: () => (state.view === "grid" ? grid.all() : tell("Only the grid has a selection.")),
  open: () => (state.view === "grid" && grid.current ? openSingle(grid.current) : null),
  grid: () => toGrid(),
  next: () => step(1),
  previous: () => step(-1),
  in: () => single.viewer.step1(true),
  out: () => single.viewer.step1(false),
  fit: () => single.viewer.fit(),
  marks: () => {
    single.viewer.marks = !single.viewer.marks;
    $('[data-do="marks"]').setAttribute("aria-pressed", !single.viewer.marks);
    if (state.item && single.photo) single.viewer.draw();
  },
  draw: startBox,
  help: () => $("#help").showModal(),
};

const SAFE = ["in", "out", "next", "previous", "undo"]; // buttons that may be pressed in quick succession
const KEYS = [
  ["Enter", "confirm", "confirm the answer of the model, for all that is selected", "both"],
  ["n", "reject", "not an object", "both"],
  ["c", "unsure", "cannot judge", "both"],
  [".", "skip", "skip; it comes back at the end", "both"],
  ["u", "undo", "undo, from anywhere; again: the one before", "both"],
  ["?", "help", "these keys", "both"],
  ["a", "all", "select all, or nothing", "grid"],
  ["o", "open", "open one finding (or double click)", "grid"],
  ["g", "grid", "back to the grid", "single"],
  ["+", "in", "zoom in (or the wheel, or two fingers)", "single"],
  ["-", "out", "zoom out", "single"],
  ["0", "fit", "whole photograph", "single"],
  ["h", "marks", "hide or show the boxes", "single"],
  ["d", "draw", "draw or correct the box", "single"],
];
const HELD = ["+", "-"]; // keys that go on while they are held down, beside arrows
const ALIASES = { "=": "+", _: "-" };

function showHelp() {
  const rows = [["1 – 9", "set the class; another type: press twice", ""], ["arrows", "grid: move; Shift selects a range. One finding: next and previous", ""], ["Space", "select or leave out", "grid"],
    ["Escape", "nothing selected; back to the grid", ""], ["PageDown", "the next page; PageUp: the one before", "grid"], ...KEYS.map(([key, , text, where]) => [key, text, where === "both" ? "" : where])];
  const place = { grid: "in the grid", single: "with one finding", "": "" };
  $("#keys tbody").replaceChildren(...rows.map(([key, text, where]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, text, where ? make("span", { class: "soft" }, ` (${place[where]})`) : ""))));
}

function showChoices() {
  const items = chosen(), types = new Set(items.map((i) => i.type)), now = new Set(items.map(nowClass));
  const buttons = words.onDigits([...types]).map((c, i) => make("button", {
    type: "button", class: `choice${types.has(c.type) || blind ? "" : " foreign"}${now.has(c.name) && !blind ? " now" : ""}`, "data-digit": i + 1, title: c.meaning,
  }, make("kbd", {}, i + 1), words.mark(c.condition), make("span", {}, c.name)));
  const row = $("#choices"), own = buttons.find((b) => !b.classList.contains("foreign"));
  row.replaceChildren(...buttons);
  row.scrollLeft = own ? own.offsetLeft - row.offsetLeft : 0; // on a phone they are in one row, which scrolls
  const n = state.view === "grid" ? grid.selected.size : 0;
  $('[data-do="confirm"]').firstChild.textContent = n > 1 ? `Confirm ${n} ` : "Confirm ";
}

/** Where a key belongs to the page itself: fields, open lists, dialogs, and Enter or Space on a button. */
function isElsewhere(event) {
  const on = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || $("#help").open) return true;
  if (on.closest("input, select, textarea")) {
    if (event.key === "Escape") restFocus();
    return true;
  }
  return ["Enter", " "].includes(event.key) && on.closest("button, a, summary") !== null;
}

function onKey(event) {
  if (event.key === "?" && $("#help").open) return $("#help").close();
  if (isElsewhere(event)) return null;
  const { viewer } = single, number = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const name = ALIASES[event.key] ?? (event.key.length === 1 ? event.key.toLowerCase() : event.key);
  const key = KEYS.find(([k, , , where]) => k === name && (where === "both" || where === state.view));
  if (event.repeat && (key || number) && !HELD.includes(name)) return event.preventDefault(); // held down: nobody looked at what would be decided
  if (viewer.edit && event.key in arrows) viewer.nudge(...arrows[event.key].map((v) => v * 4), event.shiftKey);
  else if (event.key === "Escape") escape();
  else if (viewer.edit && name === "u") stopBox();
  else if (viewer.edit && !["Enter", "d", "+", "-", "0"].includes(name)) return key || number ? tell("Enter saves the box, Escape leaves it as it was; then decide.") : null;
  else if (key) DO[key[1]]();
  else if (number && !event.shiftKey) digit(Number(number));
  else if (event.key in { ...arrows, " ": 0, Home: 0, End: 0 } && state.view === "grid") grid.key(event);
  else if (event.key in arrows && event.shiftKey) viewer.pan(...arrows[event.key].map((v) => v * -80));
  else if (event.key === "ArrowLeft" || event.key === "ArrowRight") step(arrows[event.key][0]);
  else if (event.key.startsWith("Page") && state.view === "grid") page(event.key === "PageDown" ? 1 : -1);
  else return null;
  return event.preventDefault();
}

function escape() {
  if (single.viewer.edit) stopBox();
  else if (state.view === "grid") grid.clear();
  else toGrid();
}

function onClick(event) {
  const button = event.target.closest("[data-do], [data-digit]");
  if (!button) return;
  const asked = button.dataset.digit && state.asked; // for the second press
  if (event.detail > 1 && !asked && !SAFE.includes(button.dataset.do)) return; // a double click decides one finding, not the next one too
  if (button.dataset.digit && single.viewer.edit && !saveBox()) return; // what was drawn goes with the class
  if (button.dataset.digit) digit(Number(button.dataset.digit));
  else DO[button.dataset.do]();
  if (event.detail && !["help", "draw"].includes(button.dataset.do)) restFocus(); // a click, not a key on the button
}

function onAddress() {
  const id = /^\/findings\/(\d+)/.exec(location.pathname)?.[1];
  if (state.list && String(new URLSearchParams(location.search)) !== String(state.list.query)) {
    readFilters();
    load();
  }
  if (id) openById(Number(id), { push: false });
  else toGrid({ push: false });
}

// ---------------------------------------------------------------- start

async function start() {
  words = await Words.load();
  grid = new Grid($("#grid"), words);
  single = new Single(words, blind);
  single.addEventListener("open", (e) => openById(e.detail));
  grid.addEventListener("open", (e) => openById(e.detail));
  grid.addEventListener("change", showChoices);
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", onClick);
  addEventListener("popstate", onAddress);
  $("#filters").addEventListener("submit", (e) => e.preventDefault());
  $("#filters").addEventListener("change", () => filterBy(queryOfForm()));
  $("#clear-filters").addEventListener("click", () => filterBy(new URLSearchParams()));
  $("#more-filters").addEventListener("click", (e) => {
    const open = $("#filters").classList.toggle("open");
    e.currentTarget.setAttribute("aria-expanded", open);
  });
  document.body.classList.toggle("viewer-role", !mayWrite);
  document.body.classList.toggle("is-blind", blind);
  showHelp();
  await fillFilters();
  readFilters();
  const id = /^\/findings\/(\d+)/.exec(location.pathname)?.[1];
  if (id) state.view = "single";
  const opened = id ? null : load();
  if (id) {
    state.list = new FindingList("/findings", new URLSearchParams(location.search));
    await openById(Number(id), { push: false });
    const { item } = state;
    await load();
    if (item) state.place = Math.max(0, state.list.index(item.id));
  }
  await opened;
  queue.tell();
  queue.send();
  if (state.view === "grid") grid.focus();
  setInterval(look, 1000 * LOOK_S);
  document.documentElement.dataset.ready = "yes";
}

start().catch((fault) => {
  if (fault instanceof Fault && fault.code === "signed_out") location.href = signIn();
  else warn(`The page could not be loaded: ${fault.message} Load it again.`, make("a", { class: "button plain", href: location.href }, "Load again"));
});
