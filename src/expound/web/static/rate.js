// Single keys, the order of a ranking in words, and active seconds. Every page is complete without this file.
const form = document.querySelector("form[data-judge]");
const IDLE_AFTER = 60_000;

if (form) {
  const questions = [...form.querySelectorAll("[data-question]")];
  const inputs = (question) => [...question.querySelectorAll("input[type=radio]")];
  const isAnswered = (question) => inputs(question).some((input) => input.checked);
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

  const order = form.querySelector("[data-order]");
  const tellOrder = () => {
    const tiers = new Map();
    questions.forEach((question, index) => {
      const place = Number(inputs(question).find((input) => input.checked)?.value);
      if (place) tiers.set(place, [...(tiers.get(place) ?? []), "ABCDEFG"[index]]);
    });
    const places = [...tiers.keys()].sort((one, other) => one - other);
    order.value = places.map((place) => tiers.get(place).join(" = ")).join(" › ") || order.dataset.nothing;
  };
  if (order) {
    form.addEventListener("change", tellOrder);
    tellOrder();
  }

  const isTyping = (target) => target.closest("textarea, input[type=text]");
  const hasOwnEnter = (target) => target.closest("a, button, summary") || (target.form && target.form !== form);
  const focused = () => questions.indexOf(document.activeElement.closest("[data-question]"));
  const open = () => questions.findIndex((question) => !isAnswered(question));
  const show = (question) => {
    const input = inputs(question).find((one) => one.checked) ?? inputs(question)[0];
    input.focus({ preventScroll: true });
    (question.closest(".response") ?? question).scrollIntoView({ block: "nearest" });
  };

  // A digit answers the question that has the focus, else the first open one, and goes on to the next open one.
  const answer = (digit) => {
    const at = focused() >= 0 ? focused() : Math.max(open(), 0);
    const input = questions[at].querySelector(`[data-key="${digit}"]`);
    if (!input) return;
    input.checked = true;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    const next = questions.findIndex((question, place) => place > at && !isAnswered(question));
    show(questions[next >= 0 ? next : open()] ?? questions[at]);
  };
  const move = (by) => {
    const at = focused() < 0 ? (by > 0 ? 0 : questions.length - 1) : focused() + by;
    if (questions[at]) show(questions[at]);
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || isTyping(event.target)) return;
    if (/^[0-9]$/.test(event.key)) {
      event.preventDefault();
      answer(event.key);
    } else if (event.key === "j" || event.key === "k") {
      event.preventDefault();
      move(event.key === "j" ? 1 : -1);
    } else if (event.key === "Enter" && !hasOwnEnter(event.target)) {
      event.preventDefault();
      if (!event.repeat) form.requestSubmit(form.querySelector("button.main"));
    }
  });
}
