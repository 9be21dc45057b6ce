// Calls Python functions by JSON-RPC 2.0. Made for the URL that it was loaded from: its default export has the functions
// of that URL as methods; each returns a promise. connect(url) gives the functions of another URL.

/** What a call failed with. `name` is the type of the Python exception; `code` JSON-RPC's or the application's own, or the
 *  HTTP status; `id` finds the error in the server's log; `data` is what the application added. */
export class RemoteError extends Error {
  constructor(message, { name = "RemoteError", code = 0, id = null, data = null, traceback = null } = {}, options) {
    super(message, options);
    Object.defineProperty(this, "name", { value: name, configurable: true, writable: true });
    this.code = code;
    this.id = id;
    this.data = data;
    if (traceback) this.traceback = traceback;
  }
}

const TIMEOUT = 60_000;
const METHOD_NOT_FOUND = -32601;
const PROTOCOL_NAMES = {
  "-32700": "ParseError", "-32600": "InvalidRequest", "-32601": "MethodNotFound", "-32602": "InvalidParams",
};
let lastId = 0;

/** Calls one function: call("/status/rpc", "kill", [pid]), or with named arguments, call(url, "kill", { pid, signal: 9 }).
 *  Options: `timeout` in milliseconds, `signal` an AbortSignal. */
export async function call(url, method, params = [], { timeout = TIMEOUT, signal } = {}) {
  const id = ++lastId;
  const text = JSON.stringify({ jsonrpc: "2.0", id, method, params });
  const limit = AbortSignal.timeout(timeout);
  let response, body;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: text,
      signal: signal ? either(signal, limit) : limit,
    });
    body = await response.text();
  } catch (cause) {
    if (signal?.aborted) throw cause;
    if (limit.aborted) throw new RemoteError(`no answer within ${timeout} ms`, { name: "TimeoutError" }, { cause });
    throw new RemoteError(`${url} cannot be reached`, { name: "ConnectionError" }, { cause });
  }
  let answer = null;
  try {
    answer = JSON.parse(body);
  } catch {
    // not from our server: the status says more
  }
  if (answer?.jsonrpc !== "2.0" || ("id" in answer && answer.id !== id && answer.id !== null)) {
    const message = answer?.detail ?? `${response.status} ${response.statusText}`.trim();
    throw new RemoteError(message, { name: "HTTPError", code: response.status, id: answer?.id ?? null });
  }
  if (answer.error) {
    const { code, message, data } = answer.error;
    throw new RemoteError(code === METHOD_NOT_FOUND ? `${url} has no function ${method}` : message, {
      name: data?.type ?? PROTOCOL_NAMES[code] ?? "RemoteError",
      code, id: data?.id, data: data?.data, traceback: data?.traceback,
    });
  }
  return answer.result;
}

function either(...signals) {
  if (AbortSignal.any) return AbortSignal.any(signals);
  const controller = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason);
    signal.addEventListener("abort", () => controller.abort(signal.reason), { once: true });
  }
  return controller.signal;
}

function method(url, name, options) {
  return (...args) => {
    while (args.length && args[args.length - 1] === undefined) args.pop();
    return call(url, name, args, options);
  };
}

function bind(url, names, options) {
  return Object.freeze(Object.fromEntries(names.map((name) => [name, method(url, name, options)])));
}

/** The functions of another URL, whatever they are; a name that is not there fails when it is called. Options as for call. */
export function connect(url, options) {
  const methods = new Map();
  return new Proxy(Object.freeze({}), {
    get(_, name) {
      if (typeof name !== "string" || name === "then" || name === "toJSON") return undefined;
      if (!methods.has(name)) methods.set(name, method(url, name, options));
      return methods.get(name);
    },
  });
}
