import { t } from "./language";
import type { Caption } from "./photos";

/** A caption, and whether the model is unsure of it. */
export function CaptionText({ caption }: { caption: Caption }) {
  const text = <span lang={caption.language}>{caption.text}</span>;
  return caption.unsure ? (
    <span class="muted">
      {t().unsure} {text}
    </span>
  ) : (
    text
  );
}
