// SPDX-License-Identifier: Apache-2.0
// The page: it takes over from the table that the server wrote, shows what the address asks for, and keeps it current.
import { AgentPage } from "./agent.js";
import { CheckpointPage } from "./checkpoint.js";
import { Overview } from "./overview.js";
import { el, message, replace } from "./parts.js";
import { Live, whoami } from "./source.js";
import * as words from "./words.js";

const TICK_MS = 10e3; // how often ages are counted on between two events

const root = document.querySelector("main") ?? document.body.appendChild(el("main"));
const banner = el("div", { class: "banner" });
const link = el("span", { class: "link-state", role: "status" });
const who = el("span", { class: "who" });
let view = null, place = null, live = null, session = null;

const context = { session: () => session, now: () => Date.now(), open: (href) => go(href) };

function viewOf(address, place) {
  const query = address.searchParams;
  if (address.pathname === "/") return new Overview(place, context);
  if (address.pathname === "/agent" && query.get("id")) return new AgentPage(place, { ...context, id: query.get("id") });
  if (address.pathname === "/checkpoint" && query.get("agent") && query.get("checkpoint"))
    return new CheckpointPage(place, { ...context, agent: query.get("agent"), checkpoint: query.get("checkpoint") });
  return null;
}

// The table that the server wrote, or the view before, stays until there is something to show instead.
function show({ focus = false } = {}) {
  view?.close();
  place = el("div");
  view = viewOf(new URL(location.href), place);
  if (view && live?.agents) refresh(live.agents);
  if (focus) root.querySelector("h1")?.focus({ preventScroll: true });
}

function refresh(agents) {
  if (view && !place.isConnected) replace(root, place);
  view?.show(agents);
  const title = view?.title();
  if (title) document.title = title === "blxrep" ? title : `${title} · blxrep`;
  document.documentElement.classList.toggle("down", !words.isRunning(agents));
}

function showLink(linked, error) {
  const at = live?.at ? words.when(live.at).replace(/^.*, /, "") : null;
  link.className = `link-state ${linked ? "well" : "bad"}`;
  link.textContent = linked ? "Live" : "Not live";
  const cause = error ? `The dispatcher's state cannot be read: ${error.message} ` : "The connection to blxrep-page is lost. ";
  replace(banner, !linked && message("bad", cause, at ? `What you see is of ${at}.` : ""));
}

function go(href) {
  history.pushState(null, "", href);
  scrollTo(0, 0);
  show({ focus: true });
}

// Links within the page do not load it again.
function follow(event) {
  const anchor = event.target.closest?.("a[href]");
  if (!anchor || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (anchor.hasAttribute("download") || anchor.origin !== location.origin) return;
  if (!["/", "/agent", "/checkpoint"].includes(anchor.pathname)) return;
  event.preventDefault();
  go(anchor.href);
}

function keys(event) {
  if (event.key !== "/" || event.target.closest?.("input, textarea, select")) return;
  const search = root.querySelector("input[type=search]");
  if (!search) return;
  event.preventDefault();
  search.focus();
}

function start() {
  if (!viewOfKnown()) return;
  document.querySelector("body > header")?.remove();
  const brand = el("a", { href: "/", class: "brand" }, "blxrep");
  document.body.prepend(el("header", { class: "top" }, brand, el("span", { class: "push" }), who, link), banner);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  document.body.append(el("footer", null, `Times are those of this browser${zone ? `, ${zone}` : ""}.`));
  document.addEventListener("click", follow);
  document.addEventListener("keydown", keys);
  addEventListener("popstate", () => show());
  show();
  live = new Live(refresh, showLink);
  setInterval(() => view?.tick?.(), TICK_MS);
  whoami().then((answer) => {
    session = answer;
    who.textContent = [answer.name, answer.role].filter(Boolean).join(", ");
    if (live.agents) refresh(live.agents);
  }).catch(() => { who.textContent = ""; });
}

function viewOfKnown() {
  return ["/", "/agent", "/checkpoint"].includes(location.pathname);
}

start();
