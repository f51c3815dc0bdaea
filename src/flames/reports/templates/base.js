"use strict";
// Helpers of every page: the data block, language, and elements made without HTML strings.
window.flames = (() => {
  const root = document.documentElement;
  const parse = (id) => JSON.parse(document.getElementById(id).textContent);
  const words = parse("flames-words");
  const data = parse("flames-data");
  const listeners = [];
  const HTML_LANG = { zh: "zh-Hans", en: "en" };
  const index = () => (root.dataset.lang === "zh" ? 0 : 1);

  const fill = (text, values) =>
    text.replace(/\{(\w+)\}/g, (whole, name) => (values && name in values ? values[name] : whole));

  /** Words in both languages, [zh, en]: a key of the strings, or such a pair itself. */
  const pair = (what) => (Array.isArray(what) ? what : words[what]);

  /** Words in the language shown now. */
  const say = (what, values) => fill(pair(what)[index()], values);

  /** Both languages as elements of which CSS shows one. */
  function both(what, values) {
    return ["zh", "en"].map((lang, i) =>
      el("span", { class: "t", lang: HTML_LANG[lang] }, fill(pair(what)[i], values)));
  }

  /** An element; children are nodes, lists of them, or text (never HTML). */
  function el(tag, props, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(props || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : String(value));
    }
    node.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
    return node;
  }

  // Marks that hide or reorder text, controls and lone surrogates: shown by their number.
  const HIDDEN = new RegExp(
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f" +
    "\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}\\p{Cs}]", "gu");
  const visible = (text) => String(text).replace(/\r\n?/g, "\n").replace(HIDDEN, (mark) =>
    `\u2039U+${mark.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u203a`);

  function setLanguage(lang) {
    root.dataset.lang = lang;
    root.lang = HTML_LANG[lang];
    for (const node of document.querySelectorAll("[data-l10n]")) {
      for (const [name, texts] of Object.entries(JSON.parse(node.dataset.l10n))) {
        if (name === "text") node.textContent = texts[lang];
        else node.setAttribute(name, texts[lang]);
      }
    }
    for (const button of document.querySelectorAll("[data-set-lang]"))
      button.setAttribute("aria-pressed", String(button.dataset.setLang === lang));
    for (const listener of listeners) listener(lang);
  }

  function chosen(lang) {
    if (!("remember" in root.dataset)) return null;
    try {
      if (lang) localStorage.setItem("flames-lang", lang);
      return localStorage.getItem("flames-lang");
    } catch { return null; }  // storage may be closed to pages opened from a disk
  }

  for (const button of document.querySelectorAll("[data-set-lang]"))
    button.addEventListener("click", () => {
      chosen(button.dataset.setLang);
      setLanguage(button.dataset.setLang);
    });
  root.classList.add("js");
  // A page made in nobody's chosen language follows the reader's browser.
  const spoken = () => !("follow" in root.dataset) ? null : (navigator.languages || [])
    .map((name) => name.toLowerCase().split("-")[0]).find((name) => name in HTML_LANG);
  const before = chosen();
  setLanguage(before in HTML_LANG ? before : spoken() || root.dataset.lang);

  return {
    data, pair, say, both, el, visible,
    get lang() { return root.dataset.lang; },
    onLanguage: (listener) => listeners.push(listener),
  };
})();
