/* The page's own clock: what must go on when nothing arrives, and when the server is gone. */
const faultwatch = (() => {
  const at = (id) => document.getElementById(id);
  let row = null;       // what the server last said
  let ahead = 0;        // this browser's clock minus the server's [s]
  let gone = false;

  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const span = (s) => {
    if (s < 60) return `${Math.floor(s)} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
    if (s < 172800) return `${Math.floor(s / 3600)} h ${String(Math.floor(s % 3600 / 60)).padStart(2, "0")} min`;
    return `${Math.floor(s / 86400)} days`;
  };

  const show = () => {
    if (row === null && !gone) return;
    const state = gone ? "disconnected" : row.state;
    at("page").dataset.state = at("state").dataset.state = state;
    put(at("state"), gone ? "✕ no connection" : `${row.mark} ${row.state}`);
    put(at("status"), gone ? "The page has lost its server: nothing here is current. It reloads by itself when the server is back."
                           : row.status);
    if (!gone) document.title = `${row.mark} ${row.title}`;
    if (row !== null) read(state);
    if (row === null || row.last_frame_at === null) return;
    const age = Math.max(0, Date.now() / 1000 - ahead - row.last_frame_at);
    put(at("age-value"), span(age));
    at("age").hidden = false;
    at("age").classList.toggle("old", gone || (row.state !== "ended" && age > row.quiet_after));
  };

  /* The few words for the far end of the room. */
  const read = (state) => {
    if (!at("reading") || at("reading").hidden) return;
    at("reading-state").dataset.state = state;
    put(at("reading-state"), at("state").textContent);
    put(at("reading-fraction"), row.fraction ?? "no fraction yet");
    at("reading-fraction").classList.toggle("none", row.fraction === null);
    put(at("reading-interval"), row.interval ?? "");
    put(at("reading-always"), row.always ?? "");
    const goal = Bokeh.documents[0]?.get_model_by_name("fraction_goal_words")?.text ?? "";
    put(at("reading-goal"), new DOMParser().parseFromString(goal, "text/html").body.textContent);
  };
  const reading = (on) => {
    at("reading").hidden = !on;
    kept("faultwatch-reading", on ? "1" : "");
    show();
    if (on) at("reading-close").focus(); else at("reading-open").focus();
  };

  const knock = async () => {
    try {
      const reply = await fetch("health", { cache: "no-store" });
      if (reply.ok) return location.reload();
    } catch { /* still away */ }
    setTimeout(knock, 1500);
  };

  /* What is clicked in a block of text goes to the server by name and value. */
  let times = 0;
  const ask = (...asked) => {
    const source = Bokeh.documents[0]?.get_model_by_name("asked_source");
    if (!source) return;
    times += 1; // the same thing asked twice is a change too
    source.data = { what: asked.map(([what]) => what), value: asked.map(([, value]) => value), times: asked.map(() => times) };
  };

  /* The first element for a selector, also in the shadow roots in which Bokeh draws. */
  const find = (selector, root = document) => {
    const found = root.querySelector(selector);
    if (found) return found;
    for (const element of root.querySelectorAll("*")) {
      const inside = element.shadowRoot && find(selector, element.shadowRoot);
      if (inside) return inside;
    }
    return null;
  };

  /* Bokeh's sliders and fields have no names for screen readers: a widget's `data-label` gives it one. */
  const label = (root = document) => {
    for (const element of root.querySelectorAll("*")) {
      const inside = element.shadowRoot;
      if (!inside) continue;
      const name = element.dataset.label;
      for (const field of name ? inside.querySelectorAll("input, select, textarea, .noUi-handle, .bk-spin-btn") : []) {
        const step = { "bk-spin-btn-up": ", more", "bk-spin-btn-down": ", less" }[field.classList[1]] ?? "";
        if (!field.ariaLabel) field.setAttribute("aria-label", name + step);
        if (step) field.tabIndex = -1; // the field itself takes the arrow keys
      }
      label(inside);
    }
  };

  const audit = (open) => {
    at("audit").hidden = !open;
    at("page").classList.toggle("auditing", open);
    if (open && !at("observer").value) at("observer").focus();
    return ["audit-open", open ? "1" : "0"];
  };

  const kept = (name, value) => {
    try {
      if (value === undefined) return localStorage.getItem(name);
      localStorage.setItem(name, value);
    } catch { /* a browser that keeps nothing */ }
    return null;
  };

  const look = (name) => {
    document.documentElement.dataset.look = name;
    at("look").setAttribute("aria-pressed", String(name === "light"));
    ask(["look", name]);
  };
  const choose = (name) => {
    // The server reads it when it makes the page, so that nothing flashes in the other look.
    document.cookie = `faultwatch-look=${name}; max-age=31536000; samesite=lax; path=${new URL(".", location.href).pathname}`;
    look(name);
    // A canvas keeps a rim in its old colour until its size changes.
    const page = at("page");
    setTimeout(() => { page.style.paddingRight = "10px"; setTimeout(() => { page.style.paddingRight = ""; }, 250); }, 1200);
  };

  /* One beep for every alarm that is new, where the sound was switched on. */
  let heard = null;
  let speaker = null;
  const sounding = () => at("sound")?.getAttribute("aria-pressed") === "true";
  const beep = () => {
    speaker ??= new AudioContext();
    const tone = speaker.createOscillator(), volume = speaker.createGain();
    tone.frequency.value = 880;
    volume.gain.setValueAtTime(0.2, speaker.currentTime);
    volume.gain.exponentialRampToValueAtTime(0.001, speaker.currentTime + 0.5);
    tone.connect(volume).connect(speaker.destination);
    tone.start();
    tone.stop(speaker.currentTime + 0.5);
  };
  const listen = (alarms) => {
    const now = alarms ? alarms.split(" ") : [];
    if (heard !== null && sounding() && now.some((alarm) => !heard.includes(alarm))) beep();
    heard = now;
  };

  /* Keys that move in time, where neither the open tab nor what has the focus takes them. */
  const inTime = (event) => {
    const what = { " ": "play", ArrowLeft: "back", ArrowRight: "forward", l: "live" }[event.key];
    const taken = event.composedPath().some((part) => part.tagName === "BUTTON" || part.getAttribute?.("role") === "slider");
    if (!what || taken || event.shiftKey) return;
    event.preventDefault();
    ask(["time", what]);
  };

  /* Tabs beside the frame: the server brings only the open one up to date. A tab's own script adds keys by `keys`. */
  let open = "now";
  const handlers = {};
  const tab = (name) => {
    const button = document.querySelector(`[data-tab="${CSS.escape(name)}"]`);
    if (!button) return;
    open = name;
    for (const other of document.querySelectorAll("[data-tab]")) {
      other.setAttribute("aria-selected", String(other === button));
      other.tabIndex = other === button ? 0 : -1;
    }
    for (const panel of document.querySelectorAll("[data-tab-of]")) panel.hidden = panel.dataset.tabOf !== name;
    history.replaceState(null, "", name === "now" ? location.pathname + location.search : `#${name}`);
    ask(["tab", name]);
  };
  document.addEventListener("click", (event) => event.target.dataset?.tab && tab(event.target.dataset.tab));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.target.dataset?.tab && step) {
      const all = [...document.querySelectorAll("[data-tab]")];
      const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
      next.focus();
      return tab(next.dataset.tab);
    }
    const typing = event.composedPath().some((part) => /^(INPUT|TEXTAREA|SELECT)$/.test(part.tagName ?? ""));
    if (typing || !at("audit")?.hidden) return;
    if (event.key === "b" || (event.key === "Escape" && !at("reading").hidden)) return reading(event.key === "b" && at("reading").hidden);
    handlers[open]?.(event);
    if (!event.defaultPrevented) inTime(event);
  });

  document.addEventListener("click", (event) => {
    const button = event.composedPath().find((part) => part.dataset && (part.dataset.ask || part.dataset.open));
    if (!button || button.disabled) return;
    const asked = button.dataset.open ? [audit(true)] : [];
    if (button.dataset.ask) asked.push([button.dataset.ask, button.dataset.value]);
    ask(...asked);
  });
  document.addEventListener("keydown", (event) => {
    if (!at("audit") || at("audit").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape") return ask(audit(false));
    if (event.target.tagName === "INPUT" || event.repeat) return;
    const button = find(`[data-key="${CSS.escape(event.key)}"]`);
    const picture = find(".crop img");
    const seen = picture && picture.complete && picture.naturalWidth > 0;
    if (button && (seen || button.dataset.ask !== "label")) button.click(); // no label for what is not seen yet
  });
  document.addEventListener("DOMContentLoaded", () => {
    look(document.cookie.includes("faultwatch-look=light") ? "light" : "dark");
    at("look").addEventListener("click", () => choose(document.documentElement.dataset.look === "light" ? "dark" : "light"));
    at("search")?.addEventListener("input", () => ask(["search", at("search").value]));
    if (!at("audit")) return; // the list of sessions has none
    at("observer").value = kept("faultwatch-observer") ?? "";
    at("observer").addEventListener("change", () => {
      kept("faultwatch-observer", at("observer").value);
      ask(["observer", at("observer").value]);
    });
    at("observer").addEventListener("keydown", (event) => event.key === "Enter" && at("observer").blur());
    at("audit-close").addEventListener("click", () => ask(audit(false)));
    at("reading-open").addEventListener("click", () => reading(true));
    at("reading-close").addEventListener("click", () => reading(false));
    if (kept("faultwatch-reading")) reading(true);
    at("sound").addEventListener("click", () => {
      at("sound").setAttribute("aria-pressed", String(!sounding()));
      put(at("sound"), sounding() ? "♪ sound is on" : "♪ sound is off");
      if (sounding()) beep(); // how it sounds
    });
  });

  setInterval(show, 500);
  setInterval(label, 2000);
  let ready = false;
  return {
    at, put, find, ask, kept, tab,
    tabOpen: (name) => open === name,
    keys(name, handler) { handlers[name] = handler; },
    pulse(data) {
      if (!data.state || !data.state.length) return;
      row = Object.fromEntries(Object.entries(data).map(([name, values]) => [name, values[0]]));
      if (row.reload) return location.reload();
      ahead = Date.now() / 1000 - row.now;
      if (!ready && at("observer").value) ask(["observer", at("observer").value]);
      if (!ready && location.hash.length > 1) tab(location.hash.slice(1));
      if (!ready) label();
      ready = true;
      listen(row.alarms);
      show();
    },
    lost() {
      if (gone) return;
      gone = true;
      show();
      setTimeout(knock, 1500);
    },
  };
})();
