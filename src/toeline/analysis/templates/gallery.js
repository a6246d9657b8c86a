// Searches the pictures of a page, and shows one at a time with next and previous. Without it all are shown as links.
(() => {
  "use strict";
  document.documentElement.classList.add("js");
  const figures = [...document.querySelectorAll(".grid figure")];
  const tools = document.querySelector(".tools"), box = document.querySelector("dialog");
  if (tools) {
    const text = new Map(figures.map((figure) => [figure, figure.textContent.toLowerCase()]));
    const search = () => {
      const words = tools.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const figure of figures) figure.hidden = !words.every((word) => text.get(figure).includes(word));
      const left = figures.filter((figure) => !figure.hidden).length;
      tools.querySelector("output").textContent = `${left} of ${figures.length} pictures`;
    };
    tools.addEventListener("submit", (event) => event.preventDefault());
    tools.addEventListener("input", search);
    search();
  }
  if (!document.querySelector("figure .shots")) return;
  let at = null;
  const pictures = () => figures.filter((figure) => !figure.hidden).flatMap((figure) => [...figure.querySelectorAll(".shots img")]);
  const show = (picture) => {
    at = picture;
    const [shown, link] = [box.querySelector("img"), picture.closest("a")];
    shown.src = picture.src;
    shown.alt = picture.alt;
    box.querySelector("p").textContent = picture.closest("figure").querySelector("figcaption").innerText;
    box.querySelector("a").hidden = !link || link.href === picture.src;
    if (link) box.querySelector("a").href = link.href;
    if (!box.open) box.showModal();
  };
  const step = (by) => {
    const all = pictures();
    if (!by) box.close();
    else show(all[(all.indexOf(at) + by + all.length) % all.length]);
  };
  document.addEventListener("click", (event) => {
    const picture = event.target.closest(".shots img, .shots a");
    if (!picture || picture.closest(".tilelink") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(picture.localName === "img" ? picture : picture.querySelector("img"));
  });
  box.addEventListener("click", (event) => {
    if (event.target.dataset.step) step(Number(event.target.dataset.step));
    else if (event.target.localName === "a") box.close();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") step(event.key === "ArrowRight" ? 1 : -1);
  });
})();
