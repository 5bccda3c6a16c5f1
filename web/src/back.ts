// The browser's Back closes the opened photo, and Forward opens it again.
import { effect } from "@preact/signals";
import { byKey, selected, selectedId } from "./photos";

interface State {
  photo?: string;
}

const state = (): State => (history.state as State | null) ?? {};
// An entry of a photo that was closed on the page is left the way Back leaves it, which takes a moment.
let leaving = false;

function follow(): void {
  const key = selected.value?.key;
  if (leaving) return;
  if (key === state().photo) return;
  if (key === undefined) {
    leaving = true;
    history.back();
  } else if (state().photo === undefined) {
    history.pushState({ photo: key } satisfies State, "");
  } else {
    history.replaceState({ photo: key } satisfies State, "");
  }
}

/** Once the photos that were there before are here again: one of them may have been open. */
export function followHistory(): void {
  effect(follow);
  addEventListener("popstate", () => {
    if (leaving) {
      leaving = false;
      follow();
    } else {
      selectedId.value = byKey(state().photo)?.id ?? null;
    }
  });
}
