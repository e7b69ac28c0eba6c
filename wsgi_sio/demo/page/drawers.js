// On a narrow screen the rooms and the people are drawers that slide in from the sides.

import { $ } from "./view.js";

const DRAWERS = [["show-rooms", "sidebar"], ["show-people", "people"]];

export function closeDrawers() {
  for (const [opener, drawer] of DRAWERS) {
    $(drawer).classList.remove("open");
    $(opener).ariaExpanded = "false";
  }
  $("shade").hidden = true;
}

export function setUpDrawers() {
  for (const [opener, drawer] of DRAWERS) {
    const close = $(drawer).querySelector("[data-close]");
    $(opener).onclick = () => {
      $(drawer).classList.add("open");
      $(opener).ariaExpanded = "true";
      $("shade").hidden = false;
      close.focus();
    };
    const back = () => { closeDrawers(); $(opener).focus(); };
    close.onclick = back;
    $(drawer).addEventListener("keydown", (event) => { if (event.key === "Escape") back(); });
  }
  $("shade").onclick = closeDrawers;
}
