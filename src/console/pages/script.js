"use strict";
// Keeps what carries data-live up to date: the page is fetched again, and what changed is put in its place. Nothing is touched
// while somebody is at a button or link in it or has marked something there; for how long is said.
(() => {
  const every = 3000;
  const live = () => document.querySelectorAll("[data-live]");
  if (!live().length) return;
  let failures = 0;
  const inUse = (section) => {
    const selection = document.getSelection();
    const marked = selection && !selection.isCollapsed && section.contains(selection.anchorNode);
    const open = section.querySelector("details[open]");
    const at = document.activeElement;
    return marked || open || (section.contains(at) && at.matches("a, button, input, select, textarea, summary"));
  };
  // Tables that are scrolled, or at which the keyboard is, stay so.
  const regions = (section) => [...section.querySelectorAll("[role=region]")];
  const put = (section, now) => {
    const before = regions(section).map((region) => [region.scrollLeft, region === document.activeElement]);
    section.innerHTML = now.innerHTML;
    regions(section).forEach((region, number) => {
      const [left, focused] = before[number] || [0, false];
      region.scrollLeft = left;
      if (focused) region.focus({ preventScroll: true });
    });
  };
  let fresh = Date.now();
  const late = document.createElement("p");
  late.className = "warning";
  late.hidden = true;
  live()[0].before(late);
  const say = () => {
    const seconds = Math.round((Date.now() - fresh) / 1000);
    late.hidden = seconds < 10;
    late.textContent = `Not up to date: as it was ${seconds} s ago.`;
  };
  const refresh = async () => {
    if (document.hidden) return;
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "manual" });
    if (answer.type === "opaqueredirect") return location.reload();
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    let held = false;
    for (const section of live()) {
      const now = page.querySelector(`[data-live="${section.dataset.live}"]`);
      if (!now || now.innerHTML === section.innerHTML) continue;
      if (inUse(section)) held = true;
      else put(section, now);
    }
    if (!held) fresh = Date.now();
  };
  const again = () => {
    refresh().then(() => { failures = 0; }, () => { failures += 1; })
      .finally(say)
      .finally(() => setTimeout(again, every * Math.min(1 + failures, 10)));
  };
  setTimeout(again, every);
})();
