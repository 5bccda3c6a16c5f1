import { signal } from "@preact/signals";

// As in style.css: below it, the selected photo covers the page.
const query = matchMedia("(max-width: 760px)");

export const narrow = signal(query.matches);
query.addEventListener("change", () => {
  narrow.value = query.matches;
});
