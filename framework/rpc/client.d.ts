/** What a call returns: awaited, its result; of a generator, `for await` gives its items. */
export type Call<T> = Promise<T> & AsyncIterable<T extends Stream<infer I> ? I : T extends readonly (infer I)[] ? I : never>;

/** The items of a Python generator; `return()` (leaving a `for await` loop) ends it there. */
export type Stream<T> = AsyncGenerator<T, any, undefined>;

/** What a call failed with. */
export declare class RemoteError extends Error {
  constructor(message: string, about?: { type?: string; code?: number; id?: string | null; data?: any; traceback?: string });
  /** The Python exception's type, or InvalidParams, MethodNotFound, HTTPError, TimeoutError, ConnectionError, … */
  readonly type: string;
  /** JSON-RPC's, the application's own, or the HTTP status. */
  readonly code: number;
  /** Finds the error in the server's log. */
  readonly id: string | null;
  readonly data: any;
  readonly traceback?: string;
  /** The server's functions have changed since the page was loaded. */
  readonly outdated?: boolean;
}

/** A value that JavaScript has no kind for: its text in a template, its number (of seconds) in Number(). */
export declare class Kind<K extends string = string> {
  constructor(kind: K, value: any);
  readonly kind: K;
  readonly value: any;
  toString(): string;
  toJSON(): any;
}

/** A Python tuple: an array that stays a tuple when it is sent back. */
export declare class Tuple<T = any> extends Array<T> {}

/** How far something has come. */
export declare class Progress {
  constructor(done: number, total?: number | null, text?: string);
  done: number;
  total: number | null;
  text: string;
}

export interface Options {
  /** Milliseconds without an answer or a sign of life; 60,000. Infinity: for ever. */
  timeout?: number;
  signal?: AbortSignal;
  /** Calls made before the running code has ended go out together: all, or so many at a time. */
  batch?: boolean | number;
  /** How often a safe function is tried again; 2. */
  retry?: number;
  /** The session's token, where the server asks for one; the module knows it for its own URL. */
  token?: string;
  /** The names of safe functions; the module knows them for its own URL. */
  safe?: readonly string[];
  /** Gets the Progress values of a stream, whose call then gives what the generator returns. */
  progress?: ((progress: Progress) => void) | HTMLProgressElement;
}

/** The same functions with other options, or those of another URL. */
export declare function connect<T extends object>(functions: T, options?: Options): T;
export declare function connect<T = Functions>(url: string, options?: Options): T;
export declare function call(what: string | object, method: string, params?: readonly any[] | Record<string, any>, options?: Options): Call<any>;
export declare function register<T>(name: string, type: abstract new (...args: any[]) => T, encode: (value: T) => unknown, decode: (content: any) => T): void;
export declare function encode(value: unknown): string;
export declare function decode(text: string): any;
