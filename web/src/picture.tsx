import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

interface PictureProps {
  src: string;
  alt: string;
  lazy?: boolean;
  over?: ComponentChildren;
}

/** A photo, with what lies over it where it can be shown, or a sign in its place where the browser cannot show it. */
export function Picture({ src, alt, lazy = false, over }: PictureProps) {
  const [broken, setBroken] = useState(false);
  if (broken) {
    return (
      <span class="no-picture" role={alt ? "img" : undefined} aria-label={alt || undefined}>
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d="M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 4M3 3l18 18" fill="none" stroke="currentColor" stroke-width="1.5" />
        </svg>
      </span>
    );
  }
  return (
    <>
      <img src={src} alt={alt} loading={lazy ? "lazy" : "eager"} decoding="async" onError={() => setBroken(true)} />
      {over}
    </>
  );
}
