import { t } from "./language";
import type { Work } from "./photos";

export function errorText(kind: string, message: string): string {
  return t().errors[kind] ?? (message || t().errors.failed!);
}

/** Where a work stands, in words; nothing once it is done. */
export function WorkLine({ work, working }: { work: Work<unknown>; working: string }) {
  switch (work.state) {
    case "done":
      return null;
    case "failed":
      return <span class="error">{errorText(work.kind, work.message)}</span>;
    case "busy":
      return <span class="muted">{t().busy(work.seconds)}</span>;
    default:
      return <span class="muted">{work.state === "waiting" ? t().waiting : working}</span>;
  }
}
