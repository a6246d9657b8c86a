import { $, api } from "./api.js";

/** Where to go after signing in: a path of this server, and nothing else. */
function target() {
  const next = new URLSearchParams(location.search).get("next") ?? "/review";
  try {
    const url = new URL(next, location.origin);
    // the whole address: a path alone may begin with two slashes, which is another server's
    return url.origin === location.origin && !url.pathname.startsWith("/login") ? url.href : "/review";
  } catch {
    return "/review";
  }
}

$("#login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { user, password } = event.target.elements;
  $("#said").hidden = true;
  try {
    await api("/login", { method: "POST", json: { user: user.value, password: password.value } });
    location.href = target();
  } catch (fault) {
    $("#said").textContent = fault.message;
    $("#said").hidden = false;
    password.select();
  }
});
