// The page of one person: the first part of its path. It shows messages as text, never as markup.
"use strict";

const person = location.pathname.split("/")[1];
const element = (id) => document.getElementById(id);
/** The ids of the messages that are shown. The history and the subscription can both have a message. */
const shown = new Set();

function show(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    message = { from: "", text };
  }
  if (message.id !== undefined && shown.has(message.id)) {
    return;
  }
  shown.add(message.id);
  const item = document.createElement("li");
  item.classList.toggle("own", message.from === person);
  const from = document.createElement("b");
  from.textContent = message.from;
  item.append(from, message.text);
  element("messages").append(item);
  showLast();
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
    messages.forEach(show);
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
    if (events.readyState === EventSource.CONNECTING) {
      state("connection lost, and trying again");
    }
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
