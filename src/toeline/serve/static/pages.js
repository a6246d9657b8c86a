// Progress, agreement, accuracy, sign-off and jobs.

import { $, api, clock, make, meta, percent, signIn, some, spoken } from "./api.js";

const FINISHED = ["done", "failed", "cancelled"];

/** Rows as a table that scrolls for itself on a phone. */
function table(caption, heads, rows) {
  if (!rows.length) return make("p", { class: "soft" }, "None.");
  const head = make("tr", {}, heads.map((h) => make("th", { scope: "col" }, h)));
  const body = rows.map((row) => make("tr", {}, row.map((cell, i) => make(i ? "td" : "th", i ? {} : { scope: "row" }, cell))));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, make("table", {}, make("caption", { class: "visually-hidden" }, caption), make("thead", {}, head), make("tbody", {}, body)));
}

function tiles(pairs) {
  return make("dl", { class: "tiles" }, pairs.map(([value, name]) => make("div", {}, make("dt", {}, name), make("dd", { class: "num" }, value))));
}

const bar = (value, most, name) => make("progress", { max: Math.max(1, most), value, "aria-label": name });

function fault(where, why) {
  if (why.code === "signed_out") location.href = signIn();
  where.replaceChildren(make("p", { class: "note", role: "alert" }, why.message));
}

async function inspections(select) {
  const { items } = await api("/inspections");
  for (const i of items) select.append(make("option", { value: i.id }, `${i.name} (${i.decided.toLocaleString("en")} of ${i.findings.toLocaleString("en")} decided${i.signed ? ", signed" : ""})`));
  const wanted = new URLSearchParams(location.search).get("inspection");
  if (wanted) select.value = wanted;
  select.addEventListener("change", () => history.replaceState(null, "", select.value ? `?inspection=${select.value}` : location.pathname));
  return items;
}

// ---------------------------------------------------------------- progress

async function progress(root) {
  const select = $("#inspection");
  const read = async () => {
    const query = select.value ? `?inspection=${select.value}` : "";
    const said = await api(`/progress${query}`);
    const types = (await api("/taxonomy")).types, name = (type) => types.find((t) => t.name === type)?.spoken ?? type;
    root.replaceChildren(
      tiles([[percent(said.total ? said.decided / said.total : 0), "decided"], [said.decided.toLocaleString("en"), "findings decided"], [said.open.toLocaleString("en"), "open"], [said.skipped.toLocaleString("en"), "skipped, still open"], [said.today.toLocaleString("en"), "decisions today"]]),
      bar(said.decided, said.total, "Findings decided"),
      make("h2", {}, "By object"),
      table("Decided by object", ["Object", "Decided", "Of", ""], said.by_type.map((t) => [make("a", { href: `/review?type=${t.type}${select.value ? `&inspection=${select.value}` : ""}` }, name(t.type)), t.decided, t.total, bar(t.decided, t.total, name(t.type))])),
      make("h2", {}, "By answer"),
      table("Decided by answer", ["Answer", "Findings"], Object.entries(said.by_action).map(([action, n]) => [make("a", { href: `/review?state=decided&action=${action}` }, spoken(action, action === "change" ? "another class" : "")), n])),
      make("h2", {}, "By person"),
      table("Decisions by person", ["Person", "Decisions", "Seconds each"], said.by_user.map((u) => [make("a", { href: `/review?state=decided&user=${encodeURIComponent(u.user)}` }, u.user), u.decisions, (u.seconds / Math.max(1, u.decisions)).toFixed(1)])),
    );
  };
  await inspections(select);
  select.addEventListener("change", () => read().catch((why) => fault(root, why)));
  await read();
}

// ---------------------------------------------------------------- agreement

async function agreement(root) {
  const said = await api("/agreement");
  const interval = said.low === null ? "" : ` (95 % interval ${said.low.toFixed(2)} to ${said.high.toFixed(2)})`;
  root.replaceChildren(
    tiles([[said.pairs, "findings answered by two"], [said.agreed, "answers agree"], [said.share === null ? "–" : percent(said.share), "agreement"], [said.kappa === null ? "–" : said.kappa.toFixed(2), `Cohen's kappa${interval}`]]),
    said.kappa === null ? make("p", { class: "soft" }, "Kappa needs at least two findings and two different answers.") : "",
    make("h2", {}, "Where they disagree"),
    table("Disagreements", ["Photograph", "First answer", "Second answer", ""], said.disagreements.map((d) => [d.photo, `${d.first.answer} (${d.first.user})`, `${d.second.answer} (${d.second.user})`, make("a", { href: `/findings/${d.finding}?state=all` }, "Look at it")])),
  );
  if ($("#blind-count")) $("#blind-count").textContent = `${some((await api("/blind?per_page=1")).total, "finding")} of the sample wait for your answer.`;
  $("#draw")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const drawn = await api(`/blind?share=${Number(event.target.elements.share.value) / 100}`, { method: "POST" });
      $("#drawn").textContent = `${some(drawn.sampled, "finding")} of ${drawn.total} drawn.`;
    } catch (why) {
      $("#drawn").textContent = why.message;
    }
  });
}

// ---------------------------------------------------------------- accuracy

const tenths = (p) => `${(100 * p).toFixed(1)} %`;
const between = ([low, high]) => `${(100 * low).toFixed(1)} to ${tenths(high)}`;
const COLOR = { worse: "flag", better: "good" };

/** Figures with their intervals, from 0 to 100 %; the line across is what the model was promoted with. */
function intervals(rows, promoted) {
  const wide = 540, left = 140, step = 26, high = rows.length * step + 22, x = (p) => left + p * (wide - left - 26);
  const marks = rows.flatMap(({ name, figure }, i) => {
    const y = 14 + i * step, [low, top] = figure.interval;
    return [make("text", { x: 0, y: y + 4 }, name.length > 18 ? `${name.slice(0, 17)}…` : name), make("line", { x1: x(low), x2: x(top), y1: y, y2: y, class: "reach" }), make("circle", { cx: x(figure.value), cy: y, r: 5 })];
  });
  const scale = [0, 0.25, 0.5, 0.75, 1].map((p) => make("text", { x: x(p), y: high - 2, class: "scale" }, `${100 * p} %`));
  const was = promoted ? [make("line", { x1: x(promoted), x2: x(promoted), y1: 0, y2: high - 18, class: "was" })] : [];
  const told = `${rows.map((r) => `${r.name}: ${tenths(r.figure.value)}, ${between(r.figure.interval)}`).join("; ")}${promoted ? `; promoted with ${tenths(promoted)}` : ""}`;
  return make("div", { class: "scroll intervals", tabindex: "0", role: "region", "aria-label": "Figures with intervals" }, make("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": told }, ...was, ...marks, ...scale));
}

function group(one) {
  const rows = (figures) => figures.map((f) => [f.lower_is_better ? `${f.label} (lower is better)` : f.label, tenths(f.value), between(f.interval), f.count === null ? f.n : `${f.count} of ${f.n}`, f.floor === null ? "–" : tenths(f.floor)]);
  const heads = ["Measured", "Value", "95 % interval", "Counted", "Majority class"];
  const [whole, parts] = [one.figures.filter((f) => !f.key.includes("/")), one.figures.filter((f) => f.key.includes("/"))];
  return make("section", {}, make("h3", {}, one.title), make("p", { class: "soft" }, one.caution), table(one.title, heads, rows(whole)),
    parts.length ? make("details", {}, make("summary", {}, "By type and by class"), table(`${one.title}, by type and by class`, heads, rows(parts))) : "");
}

function model(said, n) {
  const quoted = said.groups.find((g) => g.name === said.quoted), figure = quoted?.figures.find((f) => f.key === "accuracy");
  const was = said.promoted?.figures.accuracy_given_type, drift = said.drift[0];
  const heading = make("h2", {}, n > 1 ? "Model " : "The model ", make("code", {}, said.model));
  if (!said.groups.length) return make("section", {}, heading, make("p", { class: "soft" }, "Nothing of this model is decided yet."));
  return make("section", {}, heading,
    tiles([[figure ? tenths(figure.value) : "–", figure ? `right class (${between(figure.interval)}), ${quoted.name === "blind" ? "blind sample" : "answer was seen"}` : "no object is decided"],
      [figure?.floor == null ? "–" : tenths(figure.floor), "the most common class of each type"], [was ? tenths(was.value) : "–", was ? "when it was promoted, types given" : "promoted with: not known"], [said.decisions.decided.toLocaleString("en"), "findings decided"]]),
    drift ? make("p", { class: drift.answer === "worse" ? "note" : "" }, make("b", { class: COLOR[drift.answer] }, said.sentences[0])) : "",
    make("ul", {}, said.sentences.slice(drift ? 1 : 0, said.sentences.length - said.over_time.length).map((s) => make("li", {}, s))),
    said.over_time.length ? make("h3", {}, "By inspection, decisions that saw the answer") : "",
    said.over_time.length ? intervals([...(was ? [{ name: "promoted", figure: was }] : []), ...said.over_time], was?.value) : "",
    said.over_time.length ? table("Accuracy by inspection", ["Inspection", "Right class", "95 % interval", "Counted", "Drift"], said.over_time.map((o) => [o.name, tenths(o.figure.value), between(o.figure.interval), `${o.figure.count} of ${o.figure.n}`, make("span", { class: COLOR[o.drift?.answer] ?? "soft" }, { worse: "⚠ worse", better: "better", "not shown": "not shown" }[o.drift?.answer] ?? "–")])) : "",
    ...said.groups.map(group));
}

async function accuracy(root) {
  const query = new URLSearchParams(location.search), share = Number(query.get("target")) / 100, field = $("#target").elements.target;
  if (share > 0) field.value = query.get("target");
  const said = await api(share > 0 && share < 1 ? `/accuracy?target=${share}` : "/accuracy");
  root.replaceChildren(said.words ? make("p", { class: "note" }, said.words) : "", ...(said.models.length ? said.models.map((m) => model(m, said.models.length)) : [make("p", { class: "soft" }, "There is no inspection yet.")]));
}

// ---------------------------------------------------------------- sign-off

/** Who reopened it, when and how, with the way there. */
function reopened({ reopened: by }) {
  const way = make("a", { href: `/findings/${by.finding}?state=all` }, `${spoken(by.action, by.action === "change" ? "another class" : "")} (decision ${by.id})`);
  return make("span", {}, make("b", { class: "flag" }, "⚠ reopened"), ` by ${by.user}, ${clock(by.time)}: `, way);
}

async function signoff(root) {
  const select = $("#inspection"), all = await inspections(select);
  if (!all.length) return $("#frozen").replaceChildren(make("p", {}, "There is no inspection yet."));
  const read = async () => {
    const one = all.find((i) => String(i.id) === select.value) ?? all[0];
    const said = await api(`/progress?inspection=${one.id}`);
    const open = said.open ? make("p", { class: "note" }, make("b", {}, `⚠ ${some(said.open, "finding")} still open. `), "They will stand in the report as not decided. ", make("a", { href: `/review?inspection=${one.id}` }, "Decide them")) : make("p", {}, "✓ Every finding is decided.");
    const counts = Object.entries(said.by_action).map(([action, n]) => [spoken(action, action === "change" ? "another class" : ""), n]);
    $("#frozen").replaceChildren(
      make("p", {}, `The report of ${one.name} with ${some(said.total, "finding")} on ${some(one.photographs, "photograph")}: what is to be done with pictures, every answer, who gave it and when, the models (${one.model}), and the hash of all decisions so far. A later decision reopens the inspection, and the list below says so.`),
      open, table("What was decided", ["Answer", "Findings"], counts),
    );
    const { items } = await api(`/signoffs?inspection=${one.id}`);
    root.replaceChildren(table("Sign-offs", ["Signed by", "At", "State", "Open then", "Hash of the report", ""], items.map((s) => [
      `${s.name} (${s.user})`, clock(s.time), s.valid ? make("b", { class: "good" }, "✓ holds") : reopened(s), s.open,
      make("code", { title: s.sha256 }, s.sha256.slice(0, 12)),
      make("span", { class: "joined" }, make("a", { href: s.report }, "Report"), make("a", { href: s.pdf, "aria-label": `PDF of the report that ${s.name} signed` }, "PDF")),
    ])));
  };
  select.addEventListener("change", () => read().catch((why) => fault(root, why)));
  await read();
  $("#sign")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { name, password, note } = event.target.elements, said = $("#said");
    said.hidden = true;
    try {
      const json = { inspection: Number(select.value), name: name.value, note: note.value, ...(password ? { password: password.value } : {}) };
      await api("/signoffs", { method: "POST", json });
      event.target.reset();
      await read();
      $("#signed").scrollIntoView({ block: "nearest" });
    } catch (why) {
      said.textContent = why.message;
      said.hidden = false;
    }
  });
  return null;
}

// ---------------------------------------------------------------- jobs

async function jobs(root) {
  const streams = new Map();
  const mayEngineer = meta("may") === "engineer";
  const row = (job) => {
    const cancel = async () => { await api(`/jobs/${job.id}`, { method: "DELETE" }).catch((why) => fault($("#jobs-fault"), why)); await read(); };
    const moving = !FINISHED.includes(job.state);
    return make("li", { "data-job": job.id }, make("h3", {}, `${job.name} `, make("span", { class: "badge" }, job.state)),
      bar(job.done, job.total, `Photographs of ${job.name} inspected`),
      make("p", { class: "num" }, `${job.done} of ${some(job.total, "photograph")}, ${some(job.findings, "finding")}${job.problems ? `, ${some(job.problems, "problem")}` : ""}. Started by ${job.user}, ${clock(job.created)}.`),
      job.message ? make("p", { class: job.state === "failed" ? "note" : "soft" }, job.message) : "",
      job.inspection ? make("a", { href: `/review?inspection=${job.inspection}` }, "Review the findings") : "",
      moving && mayEngineer ? make("button", { type: "button", class: "plain", onclick: cancel }, "Cancel") : "");
  };
  const follow = (job) => {
    if (FINISHED.includes(job.state) || streams.has(job.id)) return;
    const stream = new EventSource(`/api/v1/jobs/${job.id}/events`);
    streams.set(job.id, stream);
    stream.addEventListener("job", ({ data }) => {
      const now = JSON.parse(data);
      $(`[data-job="${now.id}"]`)?.replaceWith(row(now));
      if (FINISHED.includes(now.state)) { stream.close(); streams.delete(now.id); }
    });
  };
  const read = async () => {
    const { items } = await api("/jobs");
    root.replaceChildren(make("div", { id: "jobs-fault" }), items.length ? make("ul", { class: "jobs" }, items.map(row)) : make("p", { class: "soft" }, "No job yet."));
    items.forEach(follow);
  };
  $("#job")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = new FormData(event.target), said = $("#said");
    if (form.get("folder")) form.delete("files");
    else form.delete("folder");
    said.hidden = true;
    try {
      await api("/jobs", { method: "POST", form });
      event.target.reset();
      await read();
    } catch (why) {
      said.textContent = why.message;
      said.hidden = false;
    }
  });
  await read();
}

for (const [id, run] of Object.entries({ "progress-page": progress, "agreement-page": agreement, "accuracy-page": accuracy, signed: signoff, "jobs-page": jobs })) {
  const root = document.getElementById(id);
  if (root) run(root).catch((why) => fault(root, why)).finally(() => { document.documentElement.dataset.ready = "yes"; });
}
