"use strict";
// Sorts the cards, and shows one of them in a large view. The page is complete without it.
(() => {
  const list = document.getElementById("cards");
  if (!list) return;
  const element = id => document.getElementById(id);
  const dialog = element("large");
  const cards = Array.from(list.children);
  const collator = new Intl.Collator(undefined, { numeric: true });
  const orders = {
    score: (a, b) => a.dataset.rank - b.dataset.rank,
    name: (a, b) => collator.compare(a.dataset.name, b.dataset.name) || orders.score(a, b),
  };
  const switches = { m: "show-map", o: "show-outline", a: "only-alarms" };
  const pressed = { "large-map": "show-map", "large-outline": "show-outline" };
  let current = null; // the card in the large view

  document.querySelectorAll(".scripted").forEach(part => { part.hidden = false; });

  const shown = () => {
    const all = Array.from(list.children);
    return element("only-alarms").checked ? all.filter(card => card.classList.contains("alarm")) : all;
  };

  function sort() {
    const focused = document.activeElement;
    list.append(...cards.sort(orders[element("order").value]));
    if (list.contains(focused)) focused.focus();
  }

  function showSwitches() {
    for (const [button, box] of Object.entries(pressed)) {
      element(button).setAttribute("aria-pressed", String(element(box).checked));
    }
  }

  function toggle(box) {
    element(box).checked = !element(box).checked;
    showSwitches();
    if (box === "only-alarms" && dialog.open) step(0); // the number of findings changed, or this one is hidden
  }

  function open(card) {
    current = card;
    const visible = shown();
    const picture = card.querySelector(".picture").cloneNode(true);
    const size = picture.querySelector(".boxes").viewBox.baseVal;
    const aspect = size.width / size.height;
    picture.style.width = `min(100cqw, calc(100cqh * ${aspect}))`;
    element("stage").replaceChildren(picture);
    element("place").textContent = `${visible.indexOf(card) + 1} of ${visible.length}`;
    element("large-name").replaceChildren(card.querySelector(".name").cloneNode(true));
    element("large-decision").className = card.className;
    element("large-decision").replaceChildren(
      card.querySelector(".decision").cloneNode(true), ` ${card.querySelector("b").textContent}`);
    element("large-facts").textContent = `${card.dataset.size} pixels, raw score ${card.dataset.raw}`;
    showRegions(card, picture);
    showSwitches();
    if (!dialog.open) dialog.showModal();
  }

  function showRegions(card, picture) {
    const details = card.querySelector("details");
    const parts = details ? Array.from(details.children) : [card.querySelector(".none")];
    const copies = parts.map(part => part.cloneNode(true));
    if (details) copies[0] = Object.assign(document.createElement("p"), { textContent: parts[0].textContent });
    element("large-regions").replaceChildren(...copies);
    const boxes = picture.querySelectorAll(".boxes rect");
    element("large-regions").querySelectorAll("tbody tr").forEach((row, index) => {
      const mark = on => { row.classList.toggle("chosen", on); boxes[index].classList.toggle("chosen", on); };
      row.tabIndex = 0;
      for (const event of ["mouseenter", "focus"]) row.addEventListener(event, () => mark(true));
      for (const event of ["mouseleave", "blur"]) row.addEventListener(event, () => mark(false));
    });
  }

  function step(by) {
    const visible = shown();
    if (!visible.length) { dialog.close(); return; }
    const from = dialog.open ? current : document.activeElement.closest("#cards > li");
    const index = visible.indexOf(from);
    const to = visible[index < 0 ? 0 : Math.min(Math.max(index + by, 0), visible.length - 1)];
    if (dialog.open) open(to);
    else to.querySelector(".open").focus();
  }

  const steps = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 };
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    if (event.key in steps) step(steps[event.key]);
    else if (event.key in switches) toggle(switches[event.key]);
    else return;
    event.preventDefault();
  });

  list.addEventListener("click", event => {
    const button = event.target.closest(".open");
    if (button) open(button.closest("li"));
  });
  dialog.addEventListener("close", () => { if (current) current.querySelector(".open").focus(); });
  element("order").addEventListener("change", sort);
  element("previous").addEventListener("click", () => step(-1));
  element("next").addEventListener("click", () => step(1));
  element("close").addEventListener("click", () => dialog.close());
  for (const [button, box] of Object.entries(pressed)) {
    element(button).addEventListener("click", () => toggle(box));
  }
  window.addEventListener("beforeprint", () => { document.querySelector(".facts").open = true; });
  if (element("order").value !== "score") sort(); // a browser may restore the choice when the page is loaded again
})();
