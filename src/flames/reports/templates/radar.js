"use strict";
// Models chosen beside a radar: at most as many as there are slots, each with a colour and a dash.
for (const section of document.querySelectorAll(".compare")) {
  const boxes = [...section.querySelectorAll(".choose input")];
  const slots = [null, null, null, null];
  const draw = () => {
    for (const box of boxes) {
      const slot = slots.indexOf(box.value);
      if (box.checked && slot < 0) slots[slots.indexOf(null)] = box.value;
      if (!box.checked && slot >= 0) slots[slot] = null;
    }
    const full = !slots.includes(null);
    for (const box of boxes) box.disabled = full && !box.checked;
    for (const node of section.querySelectorAll("[data-series]:not(.own)")) {
      const slot = slots.indexOf(node.dataset.series) + 1;
      node.toggleAttribute("hidden", !slot);
      const marked = node.querySelector(".key") || node;
      for (let i = 1; i <= slots.length; i += 1) marked.classList.toggle(`slot-${i}`, i === slot);
    }
  };
  for (const box of boxes) box.addEventListener("change", draw);
  draw();
}
