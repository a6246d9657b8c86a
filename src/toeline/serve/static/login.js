import { $, api, onSubmit } from "./api.js";

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

onSubmit($("#login"), async ({ user, password }) => {
  try {
    await api("/login", { method: "POST", json: { user: user.value, password: password.value } });
  } catch (fault) {
    password.select();
    throw fault;
  }
  location.href = target();
});
