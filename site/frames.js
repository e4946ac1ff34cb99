// A living picture is a page in a frame and follows the system's light or dark; where the reader chose the
// other with the site's switch, this tells it.
addEventListener("load", () => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  function follow() {
    const chosen = document.body.dataset.theme;
    const scheme = chosen === "dark" || (chosen !== "light" && system.matches) ? "dark" : "light";
    const ink = getComputedStyle(document.body).getPropertyValue("--color-foreground-secondary");
    for (const frame of document.querySelectorAll("iframe[srcdoc]")) {
      frame.contentDocument.documentElement.style.setProperty("color-scheme", scheme);
      frame.contentDocument.documentElement.style.setProperty("--ink", ink);
    }
  }
  new MutationObserver(follow).observe(document.body, { attributeFilter: ["data-theme"] });
  system.addEventListener("change", follow);
  follow();
});
