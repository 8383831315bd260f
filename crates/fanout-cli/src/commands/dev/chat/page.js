// The page of one person: the first part of its path. It shows messages as text, never as markup.
"use strict";

const person = location.pathname.split("/")[1];
const element = (id) => document.getElementById(id);
/** The messages that are shown, by their ids. The history and the subscription can both have a message. */
const shown = new Map();

/** Reads a message of the chat. Another publisher can send any text. */
function read(text) {
  try {
    const { id, from, text: said } = JSON.parse(text);
    if (typeof said === "string") {
      return { id, from: String(from ?? ""), said };
    }
  } catch {
    // It is shown as it is.
  }
  return { id: undefined, from: "", said: text };
}

/** Shows a message that is not shown yet, before another one or at the end. Returns its element. */
function show(text, before = null) {
  const { id, from, said } = read(text);
  if (shown.has(id)) {
    return shown.get(id);
  }
  const item = document.createElement("li");
  item.classList.toggle("own", from === person);
  const name = document.createElement("b");
  name.textContent = from;
  item.append(name, said);
  if (id !== undefined) {
    shown.set(id, item);
  }
  element("messages").insertBefore(item, before);
  if (before === null) {
    showLast();
  }
  return item;
}

/** Shows what is missing of the history, each message before the one that follows it there. */
function showHistory(messages) {
  messages.reduceRight((next, text) => show(text, next), null);
}

function showLast() {
  element("messages").lastElementChild?.scrollIntoView({ block: "end" });
}

function state(text) {
  element("state").textContent = text;
}

function listen() {
  const events = new EventSource(`/${person}/events`);
  const on = (name, handle) => events.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  on("hello", (hello) => {
    element("person").textContent = hello.person;
    document.title = `Chat: ${hello.person}`;
    element("topics").textContent = `writes to ${hello.publish}, reads ${hello.subscribe}`;
  });
  on("history", ({ messages }) => {
    showHistory(messages);
    state("connected");
  });
  on("message", ({ text }) => show(text));
  on("interrupted", ({ cause }) => state(`interrupted, and trying again: ${cause}`));
  on("refused", ({ cause }) => {
    state(`refused: ${cause}`);
    events.close();
  });
  // The browser connects again by itself.
  events.addEventListener("error", () => {
    const isTrying = events.readyState === EventSource.CONNECTING;
    state(isTrying ? "connection lost, and trying again" : "connection lost: load the page again");
  });
}

/** Sends a request, and returns the JSON of a response with 2xx. Shows why there is none. */
async function post(path, body) {
  element("error").textContent = "";
  try {
    const response = await fetch(`/${person}/${path}`, { method: "POST", body });
    const result = await response.json();
    if (response.ok) {
      return result;
    }
    element("error").textContent = result.detail ?? `status ${response.status}`;
  } catch (error) {
    element("error").textContent = `not sent: ${error.message}`;
  }
  return undefined;
}

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = element("text");
  const text = input.value;
  if ((await post("publish", text)) && input.value === text) {
    input.value = "";
  }
  input.focus();
});

element("attempt").addEventListener("click", async () => {
  const result = await post("attempts");
  const items = (result?.attempts ?? []).map(({ call, refusal }) => {
    const item = document.createElement("li");
    item.textContent = `${call}: ${refusal ?? "allowed"}`;
    return item;
  });
  element("attempts").replaceChildren(...items);
  showLast();
});

listen();
