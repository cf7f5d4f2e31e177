"use strict";
// Keeps what carries data-live up to date: the page is fetched again, and what changed is put in its place. Nothing is touched
// while somebody is in it with the keyboard or has marked something there.
(() => {
  const every = 3000;
  const live = () => document.querySelectorAll("[data-live]");
  if (!live().length) return;
  let failures = 0;
  const inUse = (section) => {
    const selection = document.getSelection();
    const marked = selection && !selection.isCollapsed && section.contains(selection.anchorNode);
    const open = section.querySelector("details[open]");
    return marked || open || section.contains(document.activeElement);
  };
  const refresh = async () => {
    if (document.hidden) return;
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "manual" });
    if (answer.type === "opaqueredirect") return location.reload();
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const section of live()) {
      const now = page.querySelector(`[data-live="${section.dataset.live}"]`);
      if (now && now.innerHTML !== section.innerHTML && !inUse(section)) section.innerHTML = now.innerHTML;
    }
  };
  const again = () => {
    refresh().then(() => { failures = 0; }, () => { failures += 1; })
      .finally(() => setTimeout(again, every * Math.min(1 + failures, 10)));
  };
  setTimeout(again, every);
})();
