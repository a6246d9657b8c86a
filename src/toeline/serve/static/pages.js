// Progress, agreement, accuracy, sign-off and jobs.

import { $, Fault, api, clock, emptyStore, make, meta, newKey, onSubmit, percent, renewToken, short, shown as plain, signIn, some, spoken, token } from "./api.js";

const FINISHED = ["done", "failed", "cancelled"];
const STATES = { waiting: "○ waiting", running: "▸ running", done: "✓ done", failed: "⚠ failed", cancelled: "× cancelled" };

/** Rows as a table that scrolls for itself on a phone. */
function table(caption, heads, rows, none = "Nothing is decided yet.") {
  if (!rows.length) return make("p", { class: "soft" }, none);
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
  for (const i of items) select.append(make("option", { value: i.id }, `${short(i.name)} (${i.decided.toLocaleString("en")} of ${i.findings.toLocaleString("en")} decided${i.signed ? ", signed" : ""})`));
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
    if (!said.total) return root.replaceChildren(emptyStore());
    const own = all.find((i) => i.id === Number(select.value));
    const earlier = own ? all.filter((i) => i !== own && new Date(i.finished) <= new Date(own.finished)) : [];
    return root.replaceChildren(
      tiles([[percent(said.total ? said.decided / said.total : 0), "decided"], [said.decided.toLocaleString("en"), "findings decided"], [said.open.toLocaleString("en"), "open"], [said.skipped.toLocaleString("en"), "skipped, still open"], [said.today.toLocaleString("en"), "decisions today"]]),
      bar(said.decided, said.total, "Findings decided"),
      make("h2", {}, "By object"),
      table("Decided by object", ["Object", "Decided", "Of", ""], said.by_type.map((t) => [make("a", { href: `/review?type=${t.type}${select.value ? `&inspection=${select.value}` : ""}` }, name(t.type)), t.decided, t.total, bar(t.decided, t.total, name(t.type))])),
      make("h2", {}, "By answer"),
      table("Decided by answer", ["Answer", "Findings"], Object.entries(said.by_action).map(([action, n]) => [make("a", { href: `/review?state=decided&action=${action}` }, spoken(action, action === "change" ? "another class" : "")), n])),
      make("h2", {}, "By person"),
      table("Decisions by person", ["Person", "Decisions", "Seconds each"], said.by_user.map((u) => [make("a", { href: `/review?state=decided&user=${encodeURIComponent(u.user)}` }, u.user), u.decisions, (u.seconds / Math.max(1, u.decisions)).toFixed(1)])),
      earlier.length ? make("h2", {}, "What changed since") : "",
      make("ul", {}, ...earlier.map((i) => make("li", {}, make("a", { href: `/api/v1/inspections/${select.value}/changes.html?since=${i.id}` }, `${i.name}, ${clock(i.finished)}`)))),
    );
  };
  const all = await inspections(select);
  select.addEventListener("change", () => read().catch((why) => fault(root, why)));
  await read();
}

// ---------------------------------------------------------------- agreement

async function agreement(root) {
  const said = await api("/agreement");
  const interval = said.low === null ? "" : ` (95 % interval ${said.low.toFixed(2)} to ${said.high.toFixed(2)})`;
  if (!said.pairs) root.replaceChildren(make("p", { class: "note" }, "No finding was answered by two people yet. An engineer draws a sample of the decided findings, and a second person answers it."));
  else root.replaceChildren(
    tiles([[said.pairs, "findings answered by two"], [said.agreed, "answers agree"], [said.share === null ? "–" : percent(said.share), "agreement"], [said.kappa === null ? "–" : said.kappa.toFixed(2), `Cohen's kappa${interval}`]]),
    said.kappa === null ? make("p", { class: "soft" }, "Kappa needs at least two findings and two different answers.") : "",
    make("h2", {}, "Where they disagree"),
    table("Disagreements", ["Photograph", "First answer", "Second answer", ""], said.disagreements.map((d) => [d.photo, `${d.first.answer} (${d.first.user})`, `${d.second.answer} (${d.second.user})`, make("a", { href: `/findings/${d.finding}?state=all` }, "Look at it")]), "The two agree everywhere."),
  );
  const waiting = async () => {
    const { total } = await api("/blind?per_page=1");
    $("#blind-count").textContent = total ? `${some(total, "finding")} of the sample wait${total === 1 ? "s" : ""} for your answer.` : "No finding of a sample waits for your answer.";
    $("#to-blind").hidden = !total;
  };
  if ($("#blind-count")) await waiting();
  onSubmit($("#draw"), async ({ share }) => {
    const drawn = await api(`/blind?share=${Number(share.value) / 100}`, { method: "POST" });
    $("#drawn").textContent = `${some(drawn.sampled, "finding")} of ${drawn.total} drawn. Another person answers them under Agreement.`;
    await waiting();
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
  if (!all.length) {
    for (const part of [select.parentElement, $("#sign")]) if (part) part.hidden = true;
    return $("#frozen").replaceChildren(emptyStore());
  }
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
    ]), "Nobody has signed this inspection yet."));
  };
  select.addEventListener("change", () => read().catch((why) => fault(root, why)));
  await read();
  let sent = {}; // one key until there is an answer: what is sent twice is signed once
  onSubmit($("#sign"), async ({ name, password, note }) => {
    const said = { inspection: Number(select.value), name: name.value, note: note.value }, what = JSON.stringify(said);
    if (sent.what !== what) sent = { what, key: newKey() };
    const json = { key: sent.key, ...said, ...(password ? { password: password.value } : {}) };
    await api("/signoffs", { method: "POST", json });
    sent = {};
    $("#sign").reset();
    await read();
    root.scrollIntoView({ block: "nearest" });
  });
}

// ---------------------------------------------------------------- jobs

const PHOTO = /\.(jpe?g|png|tiff?|webp|bmp|gif|avif|heic|heif|jp2)$/i;
const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} KB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);
const isPhoto = (file) => file.type.startsWith("image/") || PHOTO.test(file.name);

/** Send a form and say how much of it is there; `stop` is called with what ends it. Throws Fault. */
function upload(path, form, { progress, stop }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(), gone = (detail) => () => reject(new Fault(0, { detail }));
    request.open("POST", `/api/v1${path}`);
    request.setRequestHeader("x-csrf-token", token());
    request.responseType = "json";
    request.upload.addEventListener("progress", (e) => progress(e.loaded, e.total));
    request.addEventListener("load", () => (request.status < 300 ? resolve(request.response) : reject(new Fault(request.status, request.response ?? {}))));
    request.addEventListener("error", gone("The connection broke off. Nothing was started; send them again."));
    request.addEventListener("abort", gone("The upload was stopped. Nothing was started."));
    stop(() => request.abort());
    request.send(form);
  });
}

/** The photographs that were chosen, and in words what of it will be sent. Throws Fault for what the server would refuse. */
function chosenPhotos(form) {
  const all = [...form.elements.files.files], photos = all.filter(isPhoto), left = all.filter((f) => !isPhoto(f));
  const bytes = photos.reduce((sum, f) => sum + f.size, 0), { mostFiles, mostBytes } = form.dataset;
  const text = `${some(photos.length, "photograph")}, ${size(bytes)}.${left.length ? ` Left out, since they are no photographs: ${left.slice(0, 3).map((f) => f.name).join(", ")}${left.length > 3 ? ` and ${left.length - 3} more` : ""}.` : ""}`;
  const folder = "start several jobs, or put them into a folder of the server";
  if (photos.length > mostFiles) throw new Fault(0, { detail: `${some(photos.length, "photograph")}, and ${Number(mostFiles).toLocaleString("en")} can be sent at a time: ${folder}.` });
  if (bytes > mostBytes) throw new Fault(0, { detail: `${size(bytes)}, and ${size(Number(mostBytes))} can be sent at a time: ${folder}.` });
  return { photos, text: all.length ? text : "" };
}

async function startJob({ name, files, folder }) {
  const form = $("#job"), { photos } = chosenPhotos(form), place = folder?.value.trim() ?? "", body = new FormData();
  if (photos.length && place) throw new Fault(0, { detail: "Choose photographs or name a folder, not both." });
  if (!photos.length && !place) throw new Fault(0, { detail: files.files.length ? "None of these files is a photograph." : "Choose photographs, or name a folder of the server." });
  body.append("name", name.value.trim() || "inspection");
  if (place) body.append("folder", place);
  for (const photo of photos) body.append("files", photo, photo.name);
  const sending = $("#sending"), leave = (event) => event.preventDefault();
  const progress = (done, total) => {
    $("progress", sending).value = done / total;
    $("#sent").textContent = done < total ? `${size(done)} of ${size(total)} sent` : "All sent; the server looks at them.";
  };
  addEventListener("beforeunload", leave);
  sending.hidden = !photos.length;
  try {
    await renewToken(); // before gigabytes are sent, not after
    await upload("/jobs", body, { progress, stop: (end) => { $("#stop").onclick = end; } });
    form.reset();
    $("#chosen").textContent = "";
  } finally {
    removeEventListener("beforeunload", leave);
    sending.hidden = true;
  }
}

async function jobs(root) {
  const mayEngineer = meta("may") === "engineer", list = make("ul", { class: "jobs" }), told = make("p", { class: "visually-hidden", role: "status" }), refused = make("div", {});
  let stream = null, last = [];
  root.replaceChildren(refused, told, list);
  const numbers = (job) => `${job.done} of ${some(job.total, "photograph")}, ${some(job.findings, "finding")}${job.problems ? `, ${some(job.problems, "problem")}` : ""}. Started by ${job.user}, ${clock(job.created)}.`;
  const cancel = async (job, button) => {
    button.disabled = true;
    try {
      shown(await api(`/jobs/${job.id}`, { method: "DELETE" }));
    } catch (why) {
      button.disabled = false;
      fault(refused, why);
    }
  };
  const row = (job) => make("li", { "data-job": job.id, "data-state": job.state }, make("h2", {}, `${job.name} `, make("span", { class: `badge ${job.state}` }, STATES[job.state] ?? job.state)),
    FINISHED.includes(job.state) && job.state !== "done" ? "" : bar(job.done, job.total, `Photographs of ${job.name} inspected`),
    make("p", { class: "num soft" }, numbers(job)),
    job.message ? make("p", { class: job.state === "failed" ? "note" : "soft" }, job.message) : "",
    job.inspection ? make("a", { class: "button plain", href: `/review?inspection=${job.inspection}` }, "Review the findings") : "",
    !FINISHED.includes(job.state) && mayEngineer ? make("button", { type: "button", class: "plain", "aria-label": `Cancel ${job.name}`, onclick: (e) => cancel(job, e.currentTarget) }, "Cancel") : "");
  /** Only what changed is written anew, so that the focus stays on a button. */
  const shown = (job) => {
    const old = $(`[data-job="${job.id}"]`, list);
    if (old?.dataset.state === job.state) {
      Object.assign($("progress", old) ?? {}, { max: Math.max(1, job.total), value: job.done });
      $(".num", old).textContent = numbers(job);
    } else if (old) {
      old.replaceWith(row(job));
      told.textContent = `${job.name}: ${STATES[job.state] ?? job.state}.`;
    }
  };
  /** One stream, of the job that is done next: a browser has six connections to a server, and each stream would keep one. */
  const follow = () => {
    const job = last.filter((j) => !FINISHED.includes(j.state)).at(-1);
    if (!job || stream) return;
    stream = new EventSource(`/api/v1/jobs/${job.id}/events`);
    const end = (wait) => { stream?.close(); stream = null; setTimeout(() => read().catch((why) => fault(refused, why)), wait); };
    stream.addEventListener("job", ({ data }) => {
      const now = JSON.parse(data);
      shown(now);
      if (FINISHED.includes(now.state)) end(0);
    });
    stream.addEventListener("error", () => { if (stream?.readyState === EventSource.CLOSED) end(3000); }); // else it connects again by itself
  };
  const read = async () => {
    last = (await api("/jobs")).items;
    refused.replaceChildren();
    list.replaceChildren(...last.map(row));
    if (!last.length) list.replaceChildren(make("li", { class: "soft" }, $("#job") ? "No job yet. Choose photographs above; when they are inspected, their findings stand in the review." : "No job yet."));
    follow();
  };
  const form = $("#job");
  form?.elements.files.addEventListener("change", () => {
    try {
      $("#chosen").textContent = plain(chosenPhotos(form).text);
    } catch (why) {
      $("#chosen").textContent = why.message;
    }
  });
  onSubmit(form, async (fields) => { await startJob(fields); await read(); });
  await read();
}

for (const [id, run] of Object.entries({ "progress-page": progress, "agreement-page": agreement, "accuracy-page": accuracy, signed: signoff, "jobs-page": jobs })) {
  const root = document.getElementById(id);
  if (root) run(root).catch((why) => fault(root, why)).finally(() => { document.documentElement.dataset.ready = "yes"; });
}
