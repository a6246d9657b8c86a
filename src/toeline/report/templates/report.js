// Sorts the lists, and filters findings in lists, map, counts and photographs alike. Without it the page shows everything.
(() => {
  "use strict";
  document.documentElement.classList.add("js");
  const tools = document.querySelector(".tools");
  if (!tools) return;
  const field = (name) => tools.elements[name];
  const on = (name) => Boolean(field(name) && field(name).checked);
  const tables = [...document.querySelectorAll("table.sorted")];
  const cards = [...document.querySelectorAll("article.card")];
  const tiles = [...document.querySelectorAll("[data-counts]")].map((tile) => [tile.dataset.counts, tile.querySelector("dd")]);
  for (const [, number] of tiles) number.dataset.all = number.textContent;

  const findings = new Map(); // by where a finding stands: what it is, and everything on the page that shows it
  for (const part of document.querySelectorAll("[data-of]")) {
    const key = part.dataset.of;
    if (!findings.has(key)) findings.set(key, { what: part.dataset, parts: [], text: null });
    const known = findings.get(key);
    known.parts.push(part);
    if (part.dataset.card) known.what = part.dataset; // the row of the table, which says most
  }
  const text = (finding) =>
    (finding.text ??= finding.parts.filter((part) => part.cells).map((row) => row.textContent).join(" ").toLowerCase());

  const chosen = (kind, condition, review, immediate) =>
    (!field("kind").value || kind === field("kind").value) &&
    (!field("condition").value || condition === field("condition").value) &&
    (!on("review") || review) && (!on("immediate") || immediate);
  const matches = (finding, words) => {
    const { kind, condition, review, immediate, wrong } = finding.what;
    return chosen(kind, condition, review === "1", immediate === "1") && (!on("wrong") || wrong === "1") &&
      words.every((word) => text(finding).includes(word));
  };

  const count = (left, wanted, photos) => { // how many of [condition, review, immediate, number] a tile stands for
    if (wanted === "photographs") return photos;
    let sum = 0;
    for (const [condition, review, immediate, number] of left)
      if (wanted === "all" || (wanted === "review" ? review : wanted === "immediate" ? immediate : condition === wanted)) sum += number;
    return sum;
  };

  const filter = () => {
    const words = field("words") ? field("words").value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    const tally = tools.dataset.tally ? JSON.parse(tools.dataset.tally) : null;
    const asked = on("single") || field("kind").value !== "" || words.length > 0;
    const photos = new Set();
    let left = [], folded = 0, matched = 0;
    for (const finding of findings.values()) {
      const fits = matches(finding, words), away = fits && !asked && finding.what.single === "1";
      matched += fits;
      folded += away;
      if (fits) {
        photos.add(finding.what.card);
        left.push([finding.what.condition, finding.what.review === "1", finding.what.immediate === "1", 1]);
      }
      for (const part of finding.parts) part.toggleAttribute("hidden", !fits || (away && part.localName !== "li"));
    }
    if (tally) left = tally.filter((row) => chosen(...row)).map((row) => row.slice(1));
    const every = matched === findings.size && !on("review") && !on("immediate") && !field("kind").value && !field("condition").value;
    for (const card of cards) card.hidden = !every && !photos.has(card.id);
    for (const more of document.querySelectorAll("details.single")) more.open = asked && !every || on("single");
    const lines = document.querySelector(".map .same");
    if (lines) lines.toggleAttribute("hidden", !every);
    for (const [wanted, number] of tiles) {
      number.textContent = every ? number.dataset.all : count(left, wanted, photos.size).toLocaleString("en");
      number.classList.toggle("part", !every);
      number.title = every ? "" : `of ${number.dataset.all}`;
    }
    const shown = matched - folded;
    tools.querySelector("output").textContent =
      (every && !folded ? `all ${findings.size} findings` : `${shown} of ${findings.size} findings`) + (tally ? " of this page" : "") +
      (folded ? `, ${folded} folded away` : "");
  };

  const value = (row, column) => {
    const raw = row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    const number = Number(raw);
    return raw !== "" && !Number.isNaN(number) ? number : raw.toLowerCase();
  };
  const collator = new Intl.Collator(undefined, { numeric: true });
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b));

  const sort = (table, head) => {
    const column = head.cellIndex, rows = [...table.tBodies[0].rows];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = rows.map((row, at) => [value(row, column), at, row]);
    keyed.sort((a, b) => (down ? compare(b[0], a[0]) : compare(a[0], b[0])) || a[1] - b[1]);
    table.tBodies[0].append(...keyed.map((item) => item[2]));
  };

  for (const table of tables)
    for (const head of table.querySelectorAll("thead th")) {
      head.dataset.label = head.textContent.trim(); // for print: browsers leave buttons out of a head that is repeated
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, head));
    }
  const reveal = () => { // a link to what is folded away
    const there = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const more = there && there.closest("details");
    if (more && !more.open) { more.open = true; there.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("input", filter);
  tools.addEventListener("reset", () => setTimeout(filter));
  filter();
  reveal();
})();
