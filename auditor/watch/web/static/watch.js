// Keeps the page as the watch is: on an event it fetches this page anew and exchanges the parts that differ.
"use strict";
(() => {
  const SILENT = 40_000; // milliseconds: the watch says something each 15 s
  const PACE = 500; // milliseconds between two readings
  const live = document.getElementById("live");
  const page = document.getElementById("page");
  const parts = new Map([...page.children].map((part) => [part.dataset.part, part.outerHTML]));
  let token = document.body.dataset.token;
  let skew = Date.parse(document.body.dataset.now) - Date.now(); // the watch's clock, as against this one
  let title = document.title;
  let heard = Date.now();
  let lostAt = 0; // 0: not lost
  let why = "";
  let reading = false;
  let again = false;

  const now = () => Date.now() + skew;
  const clock = (time) => `${new Date(time).toISOString().slice(11, 19)} UTC`;

  const span = (milliseconds) => {
    const seconds = Math.max(0, Math.round(milliseconds / 1000));
    if (seconds < 120) return `${seconds} s`;
    if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
    return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
  };

  const show = (words, kind) => {
    // Said anew only when it differs: a reader of the screen hears each change.
    if (live.dataset.said === words) return;
    live.dataset.said = words;
    live.className = kind;
    live.textContent = words;
    if (kind === "lost") {
      const age = document.createElement("span");
      age.setAttribute("aria-hidden", "true");
      age.dataset.since = new Date(lostAt).toISOString();
      live.append(age);
    }
  };

  const age = () => {
    for (const each of document.querySelectorAll("[data-since]")) {
      const words = ` (${span(now() - Date.parse(each.dataset.since))} ago)`;
      if (each.textContent !== words) each.textContent = words;
    }
    document.title = lostAt ? `LOST since ${clock(lostAt)} · ${title}` : title;
  };

  const found = () => {
    heard = Date.now();
    lostAt = 0;
    show("Live: this page changes by itself", "live");
    age();
  };

  const lose = (reason) => {
    if (!lostAt) {
      lostAt = now();
      why = reason;
    }
    show(`Lost at ${clock(lostAt)}: ${why}. Below is what was known then.`, "lost");
    age();
  };

  // What the keyboard reaches, in its order.
  const stops = (part) => [...(part ? part.querySelectorAll("a, [tabindex]") : [])];

  const exchange = (fresh) => {
    const focused = document.activeElement;
    const within = focused && focused.closest("#page > [data-part]");
    const place = stops(within).indexOf(focused);
    const arrived = [...fresh.getElementById("page").children];
    const names = new Set(arrived.map((part) => part.dataset.part));
    for (const part of [...page.children]) if (!names.has(part.dataset.part)) part.remove();
    for (const part of arrived) {
      const name = part.dataset.part;
      const old = page.querySelector(`:scope > [data-part="${name}"]`);
      if (old && parts.get(name) === part.outerHTML) continue;
      parts.set(name, part.outerHTML);
      if (old) old.replaceWith(part);
      else page.append(part);
    }
    if (within && !focused.isConnected) {
      const href = focused.getAttribute("href");
      const there = stops(page.querySelector(`:scope > [data-part="${within.dataset.part}"]`))[place];
      // Many links lead to one address: the one at the same place, or else the first.
      const stayed = there && there.getAttribute("href") === href;
      const same = stayed || !href ? there : page.querySelector(`a[href="${CSS.escape(href)}"]`);
      if (same) same.focus({ preventScroll: true });
    }
  };

  const read = async () => {
    if (reading) {
      again = true;
      return;
    }
    reading = true;
    try {
      do {
        again = false;
        const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(15_000) });
        if (answer.status === 401) return location.reload();
        if (answer.status >= 500) throw new Error(answer.status);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        token = fresh.body.dataset.token;
        skew = Date.parse(fresh.body.dataset.now) - Date.now();
        title = fresh.title;
        exchange(fresh);
        age();
        await new Promise((done) => setTimeout(done, PACE));
      } while (again);
    } catch {
      setTimeout(read, 2_000);
    } finally {
      reading = false;
    }
  };

  const connect = () => {
    const source = new EventSource("/events");
    source.addEventListener("open", found);
    source.addEventListener("beat", found);
    source.addEventListener("view", (event) => {
      found();
      if (event.data !== token) read();
    });
    source.addEventListener("end", () => lose("the watch was stopped"));
    source.addEventListener("error", () => {
      lose("the watch does not answer");
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5_000);
    });
  };

  setInterval(() => {
    if (!lostAt && Date.now() - heard > SILENT) lose("the watch has gone silent");
    age();
  }, 1_000);
  age();
  connect();
})();
