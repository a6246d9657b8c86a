import { $, api, onSubmit } from "./api.js";

/** Where to go after signing in: a path of this server, and nothing else. */
function target() {
  const next = new URLSearchParams(location.search).get("next") ?? "/review";
  try {
    const url = new URL(next, location.origin);
    return url.origin === location.origin && !url.pathname.startsWith("/login") ? url.pathname + url.search : "/review";
  } catch {
    return "/review";
  }
}

onSubmit($("#login"), async ({ user, password }) => {
  try {
    await api("/login", { method: "POST", json: { user: user.value, password: password.value } });
  } catch (fault) {
    password.select();
    throw fault;
  }
  location.href = target();
});
