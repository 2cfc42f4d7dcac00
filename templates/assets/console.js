// Keeps a page up to date: when the server says that something changed, the page is fetched again and what differs
// is put in its place. What has the focus, what was typed, ticked or opened stays. Without this script every page
// works the same, and "Refresh" is a link.
"use strict";
(() => {
  const LEAST_MS = 1000;       // between two fetches
  const ANEW_MS = 30000;       // times are told as "3 min ago": fetched anew without a change
  const indicator = document.getElementById("live");
  if (!indicator || !window.EventSource || !document.getElementById("main")) return;

  // What was done is said once: not again when the reader reloads.
  const here = new URL(location.href);
  if (here.searchParams.has("done")) {
    here.searchParams.delete("done");
    history.replaceState(null, "", here);
  }

  let since = new Date();
  let connected = false;
  let held = false;
  const say = () => {
    const clock = since.toLocaleTimeString([], { hour12: false });
    const state = held ? "held" : connected ? "live" : "stale";
    const words = { live: "Live", stale: "Stale since " + clock, held: "Changed: refresh when done" };
    indicator.dataset.state = held ? "stale" : state;
    if (indicator.textContent !== words[state]) indicator.textContent = words[state];
  };

  const keyOf = (node) => (node.nodeType === 1 && (node.id || node.dataset.key)) || "";
  const own = (element, name) =>
    (name === "open" && /^(DETAILS|DIALOG)$/.test(element.nodeName)) ||
    (element.nodeName === "OPTION" && name === "selected") ||
    (/^(INPUT|TEXTAREA)$/.test(element.nodeName) && /^(value|checked)$/.test(name) && element.type !== "hidden");

  const attributes = (from, to) => {
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && !own(from, name)) from.removeAttribute(name);
    }
    for (const { name, value } of [...to.attributes]) {
      if (from.getAttribute(name) !== value && !own(from, name)) from.setAttribute(name, value);
    }
  };

  const become = (from, to) => {
    if (from.isEqualNode(to)) return;
    attributes(from, to);
    const keys = new Set([...to.childNodes].map(keyOf).filter(Boolean));
    const known = new Map();
    for (const child of [...from.childNodes]) {
      const key = keyOf(child);
      if (key && !keys.has(key)) child.remove();
      else if (key) known.set(key, child);
    }
    let at = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      const key = keyOf(wanted);
      let match = null;
      if (key) match = known.get(key) || null;
      else if (at && !keyOf(at) && at.nodeType === wanted.nodeType && at.nodeName === wanted.nodeName) match = at;
      if (!match || match.nodeName !== wanted.nodeName) {
        from.insertBefore(document.importNode(wanted, true), at);
        continue;
      }
      if (match === at) at = at.nextSibling;
      else from.insertBefore(match, at);
      if (match.nodeType === 1) become(match, wanted);
      else if (match.data !== wanted.data) match.data = wanted.data;
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };

  // Whether a field in which somebody wrote would be gone.
  const wouldLose = (from, to) =>
    [...from.querySelectorAll("input:not([type=hidden]), textarea, select")].some((field) => {
      const typed = field.type === "checkbox" ? field.checked !== field.defaultChecked
        : field.nodeName === "SELECT" ? field === document.activeElement
        : field.value !== field.defaultValue || field === document.activeElement;
      const row = typed && field.closest("[data-key], [id]");
      const selector = row && (row.id ? "#" + CSS.escape(row.id) : `[data-key="${CSS.escape(row.dataset.key)}"]`);
      return row && row !== from && !to.querySelector(selector);
    });

  let fetching = false;
  let wanted = false;
  let last = 0;
  const refresh = async () => {
    if (fetching) { wanted = true; return; }
    fetching = true;
    wanted = false;
    try {
      const wait = last + LEAST_MS - Date.now();
      if (wait > 0) await new Promise((done) => setTimeout(done, wait));
      last = Date.now();
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname === "/sign-in") { location.reload(); return; }
      if (!(answer.headers.get("content-type") || "").startsWith("text/html")) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const parts = [...document.querySelectorAll("[data-part]")].map((part) => [part, page.getElementById(part.id)]);
      if (parts.some(([, to]) => !to)) return;
      held = parts.some(([from, to]) => wouldLose(from, to));
      if (!held) for (const [from, to] of parts) become(from, to);
      if (answer.ok) since = new Date();
    } catch {
      connected = false;
    } finally {
      fetching = false;
      say();
      if (wanted) refresh();
    }
  };

  let stream = null;
  // A browser has few lines to one place: a page that nobody sees gives its own back.
  const listen = () => {
    if (stream) stream.close();
    stream = null;
    if (document.hidden) return;
    stream = new EventSource("/live");
    stream.addEventListener("hello", () => { if (!connected) { connected = true; refresh(); } since = new Date(); say(); });
    stream.addEventListener("changed", () => { connected = true; if (!document.hidden) refresh(); else wanted = true; });
    stream.addEventListener("error", () => {
      connected = false;
      say();
      // A refusal ends the stream for good: try later, as a loss of the line does by itself.
      if (stream && stream.readyState === EventSource.CLOSED) setTimeout(listen, 10000);
    });
  };
  document.addEventListener("visibilitychange", () => { listen(); if (!document.hidden) refresh(); });
  setInterval(() => { if (!document.hidden) refresh(); }, ANEW_MS);
  addEventListener("pagehide", () => stream && stream.close());
  addEventListener("pageshow", (event) => { if (event.persisted) listen(); });

  // A tick on top ticks all rows of its table.
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-all]")) return;
    for (const box of event.target.closest("table").querySelectorAll("tbody input[type=checkbox]")) box.checked = event.target.checked;
  });

  say();
  listen();
})();
