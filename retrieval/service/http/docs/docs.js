// Draws the OpenAPI description: each route with its parameters, and a form that asks it.

const METHODS = ["get", "post", "put", "patch", "delete"];

const description = await (await fetch("openapi.json")).json();
document.querySelector("#about").textContent = description.info.description;
const routes = document.querySelector("#routes");
for (const tag of description.tags) {
  routes.append(h("h2", {}, tag.name), h("p", {}, tag.description));
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const method of METHODS) {
      const operation = methods[method];
      if (operation?.tags.includes(tag.name)) routes.append(drawn(method, path, operation));
    }
  }
}

/** Return an element; text in it means nothing but itself. */
function h(name, attributes, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...inside.filter((each) => each !== null));
  return element;
}

/** Return a schema that stands in place of a reference to it. */
function resolved(schema) {
  const name = schema?.$ref?.split("/").pop();
  return name ? description.components.schemas[name] : (schema ?? {});
}

/** Return what a value is, in words. */
function kindOf(given) {
  const schema = resolved(given);
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.map(kindOf).filter((kind) => kind !== "null").join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return `several: ${kindOf(schema.items)}`;
  return schema.type ?? "anything";
}

/** Return an example of a schema, as JSON. */
function exampleOf(given) {
  const schema = resolved(given);
  const shown = schema.example ?? schema.examples?.[0] ?? schema.default;
  if (shown !== undefined) return shown;
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return exampleOf(several[0]);
  if (schema.type === "array") return [exampleOf(schema.items)];
  if (schema.properties) {
    const required = schema.required ?? [];
    const names = Object.keys(schema.properties).filter((name) => required.includes(name));
    return Object.fromEntries(names.map((name) => [name, exampleOf(schema.properties[name])]));
  }
  return { integer: 0, number: 0, boolean: false, string: "" }[schema.type] ?? null;
}

function drawn(method, path, operation) {
  const inputs = new Map();
  const parameters = operation.parameters ?? [];
  const rows = parameters.map((parameter) => {
    const input = h("input", {
      "aria-label": parameter.name,
      value: parameter.example ?? "",
      placeholder: parameter.schema.default?.toString() ?? "",
    });
    inputs.set(parameter, input);
    return h(
      "tr",
      {},
      h("td", {}, h("code", {}, parameter.name)),
      h("td", {}, kindOf(parameter.schema)),
      h("td", {}, parameter.description ?? ""),
      h("td", {}, input),
    );
  });
  const schema = operation.requestBody?.content["application/json"].schema;
  const body = schema
    ? h("textarea", { "aria-label": "Body", rows: "8" }, JSON.stringify(exampleOf(schema), null, 2))
    : null;
  const answer = h("pre", { role: "status", hidden: "" });
  const answers = Object.entries(operation.responses).flatMap(([status, response]) => {
    const [content] = Object.values(response.content ?? {});
    const example = content ? exampleOf(content.schema) : null;
    return [
      h("h4", {}, `${status}: ${response.description}`),
      example === null ? null : h("pre", {}, JSON.stringify(example, null, 2)),
    ].filter((each) => each !== null);
  });
  return h(
    "details",
    {},
    h(
      "summary",
      {},
      h("span", { class: "method" }, method.toUpperCase()),
      h("code", {}, path),
      ` ${operation.summary}`,
    ),
    h(
      "div",
      {},
      h("p", {}, operation.description ?? ""),
      rows.length ? h("table", {}, h("tbody", {}, ...rows)) : null,
      body ? h("h4", {}, "Body") : null,
      body,
      h("p", {}, h("button", { type: "button", onclick: () => ask(method, path, inputs, body, answer) }, "Ask")),
      answer,
      ...answers,
    ),
  );
}

async function ask(method, path, inputs, body, answer) {
  const query = new URLSearchParams();
  const headers = {};
  let place = path.slice(1);
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") {
      place = place.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    } else if (input.value && parameter.in === "query") {
      const several = parameter.schema.type === "array";
      for (const value of several ? input.value.split(",") : [input.value]) query.append(parameter.name, value);
    } else if (input.value) {
      headers[parameter.name] = input.value;
    }
  }
  const key = document.querySelector("#key").value;
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  answer.hidden = false;
  try {
    const response = await fetch(query.size ? `${place}?${query}` : place, {
      method: method.toUpperCase(),
      headers,
      body: body?.value,
    });
    const text = await response.text();
    answer.textContent = `${response.status} ${response.statusText}\n${pretty(text)}`;
  } catch (error) {
    answer.textContent = error.message;
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
