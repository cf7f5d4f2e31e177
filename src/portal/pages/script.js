// The pages work without this: it sends the router's form at once, and lets the time left run down.
"use strict";
const atOnce = document.querySelector("form[data-at-once]");
if (atOnce) atOnce.submit();
const left = document.querySelector("[data-seconds]");
const loaded = Date.now();
const two = (number) => String(number).padStart(2, "0");
const again = () => location.replace(document.querySelector("[data-again]").dataset.again);
const show = () => {
  const passed = Math.floor((Date.now() - loaded) / 1000);
  if (left) {
    const seconds = Math.max(0, Number(left.dataset.seconds) - passed);
    left.textContent = `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    if (seconds === 0) passed > 2 && again();
  }
  if (passed >= 60 && !document.hidden) again();
};
if (!atOnce) {
  show();
  setInterval(show, 1000);
}
