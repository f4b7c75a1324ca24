// What the browser is told once a page load; told again, it changes nothing.
window.studio ??= (() => {
  // One press of Back a page: Streamlit makes an entry of the history of every change of the address, and the view is
  // written into it after the page is. Within a page the entry is the same.
  const push = history.pushState;
  history.pushState = function (state, title, url) {
    const stays = new URL(url ?? "", location.href).pathname === location.pathname;
    return (stays ? history.replaceState : push).call(history, state, title, url);
  };

  // Light or dark, whatever the system prefers: Streamlit follows what it asks the browser for, and asks again after
  // printing. No reload, so nothing that was done is lost.
  let chosen = "";
  const preferred = window.matchMedia.bind(window);
  window.matchMedia = (query) => {
    const list = preferred(query);
    if (!chosen || !query.includes("prefers-color-scheme")) return list;
    return {
      matches: query.includes(chosen),
      media: query,
      addEventListener: list.addEventListener.bind(list),
      removeEventListener: list.removeEventListener.bind(list),
    };
  };
  const theme = (name) => {
    if (name === chosen || !["light", "dark"].includes(name)) return;
    chosen = name;
    window.dispatchEvent(new Event("afterprint"));
  };

  const copied = (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    // Over plain HTTP, other than on this machine, browsers give no clipboard.
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done ? Promise.resolve() : Promise.reject();
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-copy-link]");
    if (!button) return;
    const says = (text) => { button.querySelector("span").textContent = text; };
    copied(location.href).then(() => says("Copied"), () => says("Copy it from the address bar"));
    setTimeout(() => says("Copy link"), 2500);
  });

  return { theme };
})();
window.studio.theme(new URLSearchParams(location.search).get("theme"));
