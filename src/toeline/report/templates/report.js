// Sorts and filters the table of findings, and hides photographs that have none left. Without it the page is a plain table.
(() => {
  "use strict";
  document.documentElement.classList.add("js");
  const table = document.querySelector("table.findings");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const cards = [...document.querySelectorAll("article.card")];
  const tools = document.querySelector(".tools");
  const field = (name) => tools.elements[name];
  const text = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  const matches = (row, words) =>
    (!field("kind").value || row.dataset.kind === field("kind").value) &&
    (!field("condition").value || row.dataset.condition === field("condition").value) &&
    (!field("review").checked || row.dataset.review === "1") &&
    (!field("wrong") || !field("wrong").checked || row.dataset.wrong === "1") &&
    words.every((word) => text.get(row).includes(word));

  const filter = () => {
    const words = field("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const left = new Set();
    let count = 0;
    for (const row of rows) {
      row.hidden = !matches(row, words);
      if (!row.hidden) { count += 1; left.add(row.dataset.card); }
    }
    const all = count === rows.length;
    for (const card of cards) card.hidden = !all && !left.has(card.id);
    tools.querySelector("output").textContent =
      all ? `all ${rows.length} findings` : `${count} of ${rows.length} findings on ${left.size} ${left.size === 1 ? "photograph" : "photographs"}`;
  };

  const value = (row, column) => {
    const raw = row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    const number = Number(raw);
    return raw !== "" && !Number.isNaN(number) ? number : raw.toLowerCase();
  };
  const collator = new Intl.Collator(undefined, { numeric: true });
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b));

  const sort = (head) => {
    const column = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = rows.map((row, at) => [value(row, column), at, row]);
    keyed.sort((a, b) => (down ? compare(b[0], a[0]) : compare(a[0], b[0])) || a[1] - b[1]);
    body.append(...keyed.map((item) => item[2]));
  };

  for (const head of table.tHead.rows[0].cells) {
    head.dataset.label = head.textContent.trim(); // for print: browsers leave buttons out of a head that is repeated
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(head));
  }
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("input", filter);
  tools.addEventListener("reset", () => setTimeout(filter));
  filter();
})();
