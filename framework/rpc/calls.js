// Buttons and forms that call the functions of the URL that this module was loaded from. The page says by attributes what is
// called; no script is written for it, and a content security policy needs no exception.
//
//   data-call       the function's (dotted) name; data-call-at is this module's URL without its query
//   data-arguments  arguments by position, as JSON; data-named, by name
//   data-fields     "" where the fields of the form are arguments too, by their names
//   data-confirm    what is asked before
//   data-done       what is told afterwards, in place of the result
//   data-output, data-progress   ids of the elements that show the result and how far it has come
//   data-reload     "" where the page is loaded again afterwards
const url = new URL(import.meta.url.split(/[?#]/)[0]).href;
const running = new WeakSet();

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-call]");
  if (button && isOurs(button)) start(button, button.form);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-call]") || !isOurs(form)) return;
  event.preventDefault();
  start(form, form);
});

function isOurs({ dataset }) {
  return new URL(dataset.callAt, document.baseURI).href === url;
}

async function start(element, form) {
  const { dataset } = element;
  const fields = dataset.fields !== undefined && form;
  if (running.has(element) || (fields && !form.reportValidity())) return;
  if (dataset.confirm !== undefined && !confirm(dataset.confirm)) return;
  running.add(element);
  element.setAttribute("aria-busy", "true");
  const shown = new Shown(element);
  try {
    const module = await import(url);
    const made = module.call(module.default, dataset.call, await argumentsOf(dataset, fields));
    const result = await finish(await made, module, shown);
    shown.tell(dataset.done ?? textOf(result), "done");
    if (dataset.reload !== undefined) location.reload();
  } catch (error) {
    shown.tell(error.message || error.name, "failed");
    if (!error.type) console.error(error);
  } finally {
    shown.end();
    element.removeAttribute("aria-busy");
    running.delete(element);
  }
}

async function argumentsOf(dataset, form) {
  if (dataset.arguments) return JSON.parse(dataset.arguments);
  return { ...(form ? await valuesOf(form) : {}), ...JSON.parse(dataset.named ?? "{}") };
}

/** What is in a form's fields, as Python takes it: numbers, truth values of single boxes, lists of groups and of choices of
 *  many, bytes of files; else texts. A number that is empty, and no choice among several, are left out. */
async function valuesOf(form) {
  const values = {};
  const all = [...Reflect.get(HTMLFormElement.prototype, "elements", form)]; // a field may be called "elements"
  for (const field of all) {
    const { name, type } = field;
    if (!name || field.matches(":disabled, button, fieldset, output, object, [type=image], [type=submit]")) continue;
    const group = type === "checkbox" && all.filter((other) => other.name === name).length > 1;
    if (group) (values[name] ??= []).push(...(field.checked ? [field.value] : []));
    else if (type === "checkbox") values[name] = field.checked;
    else if (type === "radio") field.checked && (values[name] = field.value);
    else if (type === "number" || type === "range") Number.isNaN(field.valueAsNumber) || (values[name] = field.valueAsNumber);
    else if (type === "select-multiple") values[name] = [...field.selectedOptions].map((option) => option.value);
    else if (type === "file") {
      const files = await Promise.all([...field.files].map(async (file) => new Uint8Array(await file.arrayBuffer())));
      if (field.multiple) values[name] = files;
      else if (files.length) [values[name]] = files;
    } else values[name] = field.value;
  }
  return values;
}

// A function that yields shows what it yields, and how far it has come; what it returns is the result.
async function finish(result, { Progress }, shown) {
  if (typeof result?.next !== "function") return result;
  let lines = "";
  for (;;) {
    const { done, value } = await result.next();
    if (done) return value === undefined || value === null ? lines || value : value;
    if (value instanceof Progress) shown.progress(value);
    else shown.tell((lines += (lines && "\n") + textOf(value)), "running");
  }
}

function textOf(value) {
  if (value === undefined || value === null || value === true) return "Done.";
  if (value === false) return "Not done.";
  return typeof value === "object" && value.toString === Object.prototype.toString || Array.isArray(value)
    ? JSON.stringify(value, null, 1)
    : String(value);
}

/** Where the result goes: the elements that the page names, else an <output> right behind the button or last in the form. */
class Shown {
  constructor(element) {
    const { output, progress } = element.dataset;
    const inside = element.localName === "form";
    const near = inside ? element.querySelector(":scope > output.result") : element.nextElementSibling;
    this.output = output ? document.getElementById(output) : near?.matches("output") ? near : this.#made(element, inside);
    this.bar = progress ? document.getElementById(progress) : null;
    this.tell("", "running");
  }
  #made(element, inside) {
    const output = document.createElement("output");
    output.className = "result";
    if (inside) element.append(output);
    else element.after(output);
    return output;
  }
  tell(text, state) {
    this.output.dataset.state = state;
    this.output.textContent = text;
  }
  progress({ done, total, text }) {
    if (!this.bar) {
      this.bar = this.own = document.createElement("progress");
      this.bar.setAttribute("aria-label", "Progress");
      this.output.before(this.bar);
    }
    if (total === null) this.bar.removeAttribute("value");
    else Object.assign(this.bar, { max: total, value: done });
    if (text) this.tell(text, "running");
  }
  end() {
    this.own?.remove();
  }
}
