// Calls Python functions by JSON-RPC 2.0. Made for the URL that it was loaded from: its default export has the functions
// of that URL as methods; each returns a promise. connect(url) gives the functions of another URL. What is written here
// is what docs/rpc.md says; comments and indentation are not served.

/** What a call failed with. `type` (and `name`) is the type of the Python exception; `code` JSON-RPC's or the application's
 *  own, or the HTTP status; `id` finds the error in the server's log; `data` is what the application added; `outdated`
 *  says that the server's functions have changed since this page was loaded. */
export class RemoteError extends Error {
  constructor(message, { type = "RemoteError", code = 0, id = null, data = null, traceback, outdated } = {}, options) {
    super(message, options);
    Object.defineProperty(this, "name", { value: type, configurable: true, writable: true });
    Object.assign(this, { type, code, id, data });
    if (traceback) this.traceback = traceback;
    if (outdated) this.outdated = outdated;
  }
}

// ---- values -----------------------------------------------------------------------------------------------------------

/** A value that JavaScript has no kind for: `kind` is date, time, timedelta, decimal, uuid or a registered name; `value` its
 *  text. It is its text where a text is needed, and its number (of seconds) where a number is. */
export class Kind {
  constructor(kind, value) {
    this.kind = kind;
    this.value = value;
    Object.freeze(this);
  }
  toString() {
    return `${this.value}`;
  }
  toJSON() {
    return this.value;
  }
}

/** A Python tuple: an array that stays a tuple when it is sent back. */
export class Tuple extends Array {}

/** How far something has come: `total` is null where nobody knows. */
export class Progress {
  constructor(done, total = null, text = "") {
    Object.assign(this, { done, total, text });
  }
}

const readers = {
  int: BigInt,
  float: Number,
  set: (items) => new Set(items),
  map: (pairs) => new Map(pairs),
  tuple: (items) => Object.setPrototypeOf(items, Tuple.prototype),
  bytes: (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt()),
  datetime: (text) => Object.defineProperty(readDate(text), "iso", { value: text }),
  error: ({ message, ...about }) => new RemoteError(message, about),
  progress: ({ done, total, text }) => new Progress(done, total, text),
};
const writers = [
  [Date, (date) => ({ $datetime: date.iso && +readDate(date.iso) === +date ? date.iso : date.toISOString() })],
  [Set, (set) => ({ $set: [...set] })],
  [Map, (map) => ({ $map: [...map] })],
  [Tuple, (tuple) => ({ $tuple: [...tuple] })],
  [Uint8Array, writeBytes],
  [ArrayBuffer, (buffer) => writeBytes(new Uint8Array(buffer))],
  [Progress, (progress) => ({ $progress: { ...progress } })],
  [Kind, ({ kind, value }) => ({ [`$${kind}`]: value })],
  [Error, ({ name, message, code }) => ({ $error: { type: name, message, code: Number.isInteger(code) ? code : 0 } })],
];

function writeBytes(bytes) {
  return { $bytes: btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join("")) };
}

// A Date has milliseconds, Python's microseconds; `iso` keeps the whole text and the zone for the way back.
function readDate(text) {
  return new Date(text.replace(/(\.\d{3})\d+/, "$1"));
}

/** A class of one's own keeps its kind: the other side of Python's framework.rpc.register. */
export function register(name, type, encode, decode) {
  writers.unshift([type, (value) => ({ [`$${name}`]: encode(value) })]);
  readers[name] = decode;
}

/** A value as the text that is sent. */
export function encode(value) {
  return JSON.stringify(value, write);
}

function write(key, shown) {
  const value = this[key]; // `shown` is what toJSON made of it
  if (typeof value === "bigint") return { $int: `${value}` };
  if (typeof value === "number") {
    // JSON has no NaN; and the digits of a large number here are not all its own, so nobody may take it for an integer
    const exact = Number.isSafeInteger(value) ? !Object.is(value, -0) : Number.isFinite(value) && value % 1;
    return exact ? value : { $float: value ? `${value}` : Object.is(value, -0) ? "-0" : "NaN" };
  }
  if (value === null || typeof value !== "object") return shown;
  const writer = writers.find(([type]) => value instanceof type);
  if (writer) return writer[1](value);
  if (shown === value && !Array.isArray(value) && Object.keys(value).some((name) => name[0] === "$")) {
    const names = Object.keys(value).filter((name) => encode(value[name]) !== undefined);
    if (names.length === 1 && names[0][0] === "$") return { [`$${names[0]}`]: value[names[0]] };
  }
  return shown;
}

/** The value of such a text. */
export function decode(text) {
  return text.includes('{"$') ? JSON.parse(text, read) : JSON.parse(text);
}

function read(_, value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  const names = Object.keys(value);
  const [name] = names;
  if (names.length !== 1 || name[0] !== "$") return value;
  const content = value[name];
  const tag = name.slice(1);
  if (tag[0] === "$") return { [tag]: content };
  return Object.hasOwn(readers, tag) ? readers[tag](content) : new Kind(tag, content);
}

// ---- calls ------------------------------------------------------------------------------------------------------------

const TIMEOUT = 60_000;
const BATCH = 50;
const PROTOCOL_NAMES = {
  "-32700": "ParseError", "-32600": "InvalidRequest", "-32601": "MethodNotFound", "-32602": "InvalidParams",
};
const queues = new Map();
const targets = new WeakMap();
let lastId = 0;

/** Calls one function: call("/status/rpc", "kill", [pid]), or with named arguments, call(url, "kill", { pid, signal: 9 }).
 *  In place of the URL, functions that one has: call(status, "kill", [pid]). */
export function call(what, method, params, options) {
  return send({ ...(targets.get(what) ?? { url: what }), options }, method, params);
}

function send(target, method, params = []) {
  const one = { jsonrpc: "2.0", id: ++lastId, method, params };
  const { batch, progress } = target.options ?? {};
  const made = batch ? enqueue(target, one) : exchange(target, [one]).then(([take]) => take());
  const result = progress ? made.then(finish) : made;
  result[Symbol.asyncIterator] = () => each(result);
  return result;
}

async function* each(stream) {
  return yield* await stream;
}

// A stream whose items nobody reads: its progress is shown, and what it returns in the end is its result.
async function finish(stream) {
  if (typeof stream?.next !== "function") return stream;
  for (;;) {
    const { done, value } = await stream.next();
    if (done) return value;
  }
}

// Calls that are made before the running code has ended go out together.
function enqueue(target, one) {
  const { batch } = target.options;
  return new Promise((resolve, reject) => {
    const waiting = queues.get(target) ?? [];
    if (!waiting.length) {
      queues.set(target, waiting);
      queueMicrotask(() => {
        queues.delete(target);
        const size = batch === true ? (target.batch ?? BATCH) : batch;
        for (let first = 0; first < waiting.length; first += size) {
          const part = waiting.slice(first, first + size);
          const take = (takes) => part.forEach(({ resolve }, i) => resolve(new Promise((done) => done(takes[i]()))));
          exchange(target, part.map(({ one }) => one)).then(take, (error) => part.forEach(({ reject }) => reject(error)));
        }
      });
    }
    waiting.push({ one, resolve, reject });
  });
}

// What takes the result of each call, or throws. Only what does no harm when it is done twice is tried again.
async function exchange(target, calls) {
  const { retry = 2, safe = target.safe ?? [] } = target.options ?? {};
  for (let tried = 0; ; tried++) {
    try {
      return await post(target, calls);
    } catch (error) {
      const again = error.type === "ConnectionError" || (error.type === "HTTPError" && [502, 503, 504].includes(error.code));
      if (!again || tried >= retry || !calls.every(({ method }) => safe.includes(method))) throw error;
      await new Promise((done) => setTimeout(done, 200 * 2 ** tried));
    }
  }
}

async function post({ url, options = {}, version, token: own }, calls) {
  const { timeout = TIMEOUT, signal, progress, token = own } = options;
  const controller = new AbortController();
  const stop = () => controller.abort(signal.reason);
  let timer;
  const wait = () => {
    clearTimeout(timer);
    const late = new RemoteError(`no answer within ${timeout} ms`, { type: "TimeoutError" });
    if (timeout < 2 ** 31) timer = setTimeout(() => controller.abort(late), timeout);
  };
  const end = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  };
  const failure = (cause) => {
    end();
    if (controller.signal.aborted) return controller.signal.reason;
    return new RemoteError(`${url} cannot be reached`, { type: "ConnectionError" }, { cause });
  };
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  const body = encode(calls.length > 1 ? calls : calls[0]);
  wait();
  let response, text;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: {
        "Content-Type": "application/json; values=tagged",
        Accept: "application/json, application/x-ndjson",
        ...(token && { "RPC-Token": token }),
      },
      body,
      signal: controller.signal,
    });
    if (response.headers.get("content-type") === "application/x-ndjson") return [leavable];
    text = await response.text();
  } catch (cause) {
    throw failure(cause);
  }
  end();
  let answer = null;
  try {
    answer = decode(text);
  } catch {
    // not from our server: the status says more
  }
  const found = [answer].flat().filter((one) => one?.jsonrpc === "2.0");
  const answers = calls.map(({ id }) => found.find((one) => one.id === id || (one.error && one.id === null)));
  if (answers.includes(undefined)) {
    const message = answer?.detail ?? `${response.status} ${response.statusText}`.trim();
    throw new RemoteError(message, { type: "HTTPError", code: response.status, id: answer?.id });
  }
  return answers.map((one, i) => () => resultOf(one, calls[i].method));

  function resultOf({ error, result }, method) {
    if (!error) return result;
    const { code, message, data } = error;
    const now = response.headers.get("rpc-version");
    const outdated = version && now && now !== version;
    const words = code === -32601 ? `${url} has no function ${method}` : message;
    throw new RemoteError(outdated ? `${words} (the server's functions have changed: reload the page)` : words, {
      ...data, type: data?.type ?? PROTOCOL_NAMES[code], code, outdated,
    });
  }

  // A generator that was not begun, or waits for an item, is left at once as well.
  function leavable() {
    const stream = items();
    const leave = stream.return.bind(stream);
    stream.return = (value) => {
      end();
      controller.abort();
      return leave(value);
    };
    return stream;
  }

  // Each line is a notification with an item, or empty (a sign of life); the last one is the answer.
  async function* items() {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    try {
      for (;;) {
        wait();
        const { done, value } = await reader.read().catch((cause) => {
          throw failure(cause);
        });
        if (done) throw new RemoteError(`${url} ended the stream early`, { type: "ConnectionError" });
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          if (!line) continue;
          const message = decode(line);
          if (!message.method) return resultOf(message, calls[0].method);
          const [item] = message.params;
          if (progress && item instanceof Progress) show(progress, item);
          else yield item;
        }
      }
    } finally {
      end();
      controller.abort();
    }
  }
}

// A callback, or a <progress> element.
function show(progress, item) {
  if (typeof progress === "function") return progress(item);
  progress.title = item.text;
  if (item.total === null) return progress.removeAttribute("value");
  progress.max = item.total;
  progress.value = item.done;
}

// ---- functions --------------------------------------------------------------------------------------------------------

function method(target, name) {
  return (...args) => {
    while (args.length && args[args.length - 1] === undefined) args.pop();
    return send(target, name, args);
  };
}

function bind(target, names) {
  const root = {};
  for (const name of names) {
    const path = name.split(".");
    const last = path.pop();
    path.reduce((at, part) => (at[part] ??= {}), root)[last] = method(target, name);
  }
  targets.set(root, { ...target, names });
  return freeze(root);
}

function freeze(tree) {
  Object.values(tree).forEach((value) => typeof value === "object" && freeze(value));
  return Object.freeze(tree);
}

/** The functions of another URL, whatever they are; a name that is not there fails when it is called. Or the functions that
 *  one has, with other options: connect(status, { timeout: 1000 }). */
export function connect(what, options) {
  const known = targets.get(what);
  const target = { ...(known ?? { url: what }), options };
  return known?.names ? bind(target, known.names) : open(target, "");
}

function open(target, path) {
  const functions = new Proxy(method(target, path), {
    get(_, name) {
      if (typeof name !== "string" || name === "then" || name === "toJSON") return undefined;
      return open(target, path ? `${path}.${name}` : name);
    },
  });
  targets.set(functions, target);
  return functions;
}
