// Runs before the page is painted: the chosen theme stands on <html>, so that nothing flashes.
(() => {
  const NAMES = { "": "Auto", light: "Light", dark: "Dark" };
  const next = { "": "dark", dark: "light", light: "" };
  const read = () => { try { return localStorage.getItem("toeline.theme") || ""; } catch { return ""; } };
  const show = (theme) => {
    document.documentElement.dataset.theme = theme in NAMES ? theme : "";
    const name = document.getElementById("theme-name");
    if (name) name.textContent = NAMES[theme] || "Auto";
  };
  show(read());
  document.addEventListener("DOMContentLoaded", () => {
    show(read());
    document.getElementById("theme")?.addEventListener("click", () => {
      const theme = next[read()] ?? "";
      try { localStorage.setItem("toeline.theme", theme); } catch { /* then it lasts for this page */ }
      show(theme);
    });
  });
})();
