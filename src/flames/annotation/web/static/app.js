"use strict";
// Keys, and going on to the next item without a flash. Everything works without this file, too.
(() => {
  let shownAt = Infinity; // when the reader could first see the page; not before it is painted
  let busy = false;

  const main = () => document.getElementById("main");
  const painted = () => {
    shownAt = Infinity;
    requestAnimationFrame(() => setTimeout(() => { shownAt = performance.now(); }));
  };
  painted();

  /** Whether a form has been in sight for long enough that its answer cannot be a second click. */
  function settled(form) {
    const wait = Number(main().dataset.settle);
    return form?.id !== "answer" || !wait || performance.now() - shownAt >= wait;
  }
  const typing = (element) =>
    element.matches("textarea, select, input:not([type=radio]):not([type=hidden])");

  /** The letter or digit that was meant, full-width or with an input method switched on. */
  function keyOf(event) {
    const key = event.key.normalize("NFKC").toLowerCase();
    if (/^[a-z0-9]$/.test(key)) return key;
    const code = /^(?:Key|Digit|Numpad)([A-Z0-9])$/.exec(event.code || "");
    return code ? code[1].toLowerCase() : event.key;
  }

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.altKey || event.metaKey) return;
    if (event.target instanceof Element && typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      if (event.key === "Enter" && event.ctrlKey && event.target.hasAttribute("data-send")) {
        const go = event.target.form.querySelector("button.go");
        event.preventDefault();
        if (go) go.click();
      }
      return;
    }
    const key = keyOf(event);
    if (event.ctrlKey || event.repeat || (event.shiftKey && !/^[0-9]$/.test(key))) return;
    const field = main().querySelector(`[data-focus="${CSS.escape(key)}"]`);
    if (field) {
      event.preventDefault();
      field.focus();
      return;
    }
    const target = main().querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!target || busy || !settled(target.form)) return;
    if (key === "Enter" && event.target !== document.body && event.target !== main()
        && event.target !== target && event.target.closest("a, button, summary")) return;
    event.preventDefault();
    if (target.matches("input[type=radio]")) {
      target.checked = true;
      const reason = target.form.querySelector("[data-send]");
      if (reason) reason.focus();
      return;
    }
    target.classList.add("pressed");
    target.click();
  });

  /** Takes over another page of ours in place of this one. */
  function show(html, address) {
    const next = new DOMParser().parseFromString(html, "text/html");
    const fresh = next.getElementById("main");
    if (!fresh || !next.querySelector("header.top")) {
      location.assign(address);
      return;
    }
    document.title = next.title;
    document.body.className = next.body.className;
    document.documentElement.lang = next.documentElement.lang;
    document.querySelector("header.top").replaceWith(next.querySelector("header.top"));
    main().replaceWith(fresh);
    history.replaceState(null, "", new URL(address).pathname);
    window.scrollTo(0, 0);
    const wanted = fresh.querySelector("[autofocus]") || fresh;
    wanted.focus({ preventScroll: true });
    const heading = fresh.querySelector("h1");
    document.getElementById("live").textContent = heading ? heading.textContent : "";
    painted();
  }

  function settle(offline) {
    busy = false;
    document.body.classList.remove("busy");
    for (const element of document.querySelectorAll(".pressed")) element.classList.remove("pressed");
    document.getElementById("offline").hidden = !offline;
  }

  async function send(form, button) {
    busy = true;
    document.body.classList.add("busy");
    try {
      const body = new URLSearchParams(new FormData(form, button));
      const waited = performance.now() - shownAt;
      if (Number.isFinite(waited)) body.append("waited", Math.round(waited));
      const headers = { "X-Flames-Page": "1" };
      const response = await fetch(form.action, { method: "POST", body, headers });
      if (response.status === 503) {
        settle(true);
        return;
      }
      show(await response.text(), response.url);
      settle(false);
    } catch {
      settle(true); // nothing was lost: the form is as it was
    }
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.id !== "answer") return;
    event.preventDefault();
    if (!busy && settled(form)) send(form, event.submitter);
  });

  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
    if (!button) return;
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = button.dataset.copied;
    } catch {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    }
  });
})();
