// What the page remembers between visits. Private windows may refuse to; then it remembers nothing.

export function remembered(name: string, store: Storage = localStorage): string | null {
  try {
    return store.getItem(`seetell.${name}`);
  } catch {
    return null;
  }
}

export function remember(name: string, value: string, store: Storage = localStorage): void {
  try {
    store.setItem(`seetell.${name}`, value);
  } catch {
    // Not remembered, then.
  }
}
