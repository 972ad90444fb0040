"use strict";
// Looks at the page again when the server says that something has changed, and puts in what is different. Without it the page is
// whole, and stays as it was when it was loaded.
const filter = document.getElementById("filter");
const live = document.getElementById("live");
let looking = false;
let again = false;

function narrow() {
  const wanted = filter.value.toLowerCase();
  for (const row of document.querySelectorAll("tr[data-words]")) {
    row.hidden = !row.dataset.words.toLowerCase().includes(wanted);
  }
}

async function look() {
  if (looking) {
    again = true;
    return;
  }
  looking = true;
  try {
    const response = await fetch("/part", { credentials: "same-origin" });
    if (!response.ok) throw new Error(String(response.status));
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const section of fresh.querySelectorAll("section[id]")) {
      const known = document.getElementById(section.id);
      if (!known || known.outerHTML === section.outerHTML) continue;
      // Who reads a table with the keyboard stays where they are.
      const scrolled = [...known.querySelectorAll(".scroll")].map((part) => part.scrollLeft);
      const focused = known.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      const inRegion = known.contains(document.activeElement) && document.activeElement.classList.contains("scroll");
      known.replaceChildren(...section.childNodes);
      [...known.querySelectorAll(".scroll")].forEach((part, at) => { part.scrollLeft = scrolled[at] || 0; });
      const back = focused ? known.querySelector(`a[href="${CSS.escape(focused)}"], a[href="${focused}"]`) : null;
      if (back) back.focus();
      else if (inRegion) known.querySelector(".scroll")?.focus();
    }
    narrow();
    live.textContent = "live";
  } catch {
    live.textContent = "the daemon does not answer";
  }
  looking = false;
  if (again) {
    again = false;
    look();
  }
}

if (filter && live) {
  filter.addEventListener("input", narrow);
  const events = new EventSource("/events");
  events.onmessage = look;
  events.onerror = () => { live.textContent = "not connected: is `trunkline dashboard` still running?"; };
  events.onopen = () => { live.textContent = "live"; };
}
