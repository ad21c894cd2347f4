// Single keys and active seconds. Every page is complete without this file.
const form = document.querySelector("form[data-judge]");
const IDLE_AFTER = 60_000;

if (form) {
  const points = [...form.querySelectorAll("input[name=choice]")];
  document.documentElement.dataset.keys = "";

  // Only time in which the page is visible and somebody is there counts.
  let active = 0;
  let sign = performance.now();
  let last = sign;
  const count = () => {
    const now = performance.now();
    if (document.visibilityState === "visible" && now - sign < IDLE_AFTER) active += Math.min(now - last, 2000);
    last = now;
  };
  setInterval(count, 1000);
  for (const name of ["pointermove", "pointerdown", "keydown", "scroll", "wheel"]) {
    addEventListener(name, () => { sign = performance.now(); }, { passive: true });
  }

  for (const each of document.querySelectorAll("form[data-judgment]")) {
    each.addEventListener("submit", () => {
      count();
      each.elements.seconds.value = (active / 1000).toFixed(1);
      each.elements.device.value = matchMedia("(min-width: 46rem)").matches ? "wide" : "narrow";
    });
  }

  const isTyping = (target) => target.closest("textarea, input[type=text]");
  const hasOwnEnter = (target) => target.closest("a, button, summary") || (target.form && target.form !== form);

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || isTyping(event.target)) return;
    const point = points[Number(event.key) - 1];
    if (point && /^[1-9]$/.test(event.key)) {
      event.preventDefault();
      point.checked = true;
      point.focus({ preventScroll: true });
    } else if (event.key === "Enter" && !hasOwnEnter(event.target)) {
      event.preventDefault();
      if (!event.repeat) form.requestSubmit(form.querySelector("button.main"));
    }
  });
}
