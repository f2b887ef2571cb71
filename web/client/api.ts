// The only caller of `fetch`. Every answer is one of four kinds, so that a view can tell "the server said no" from
// "nobody answered" and never sees an exception.
import { decodePath, decodePaths, type Info, type PathSnapshot, type PushInfo, type PushSubscriber, type WhoAmI } from './types'

export type Reply<T> =
  | { kind: 'ok'; value: T }
  /** The caller gave up. */
  | { kind: 'aborted' }
  /** The server answered, and the answer is no (RFC 9457). */
  | { kind: 'problem'; status: number; code: string; message: string; hint: string | null }
  /** No answer, or one that is not ours. */
  | { kind: 'unreachable'; message: string }

const TIMEOUT_MS = 8_000

export class Api {
  readonly #root: URL
  readonly #token: string | null

  /** `root` is where the server's `/` is, seen through any proxy. It ends in a slash. `token` is that of a link. */
  constructor(root: URL, token: string | null = null) {
    this.#root = root
    this.#token = token
  }

  info(signal?: AbortSignal): Promise<Reply<Info>> {
    return this.#read('api/v1/info', (value) => (typeof value === 'object' ? (value as Info | null) : null), signal)
  }

  paths(signal?: AbortSignal): Promise<Reply<PathSnapshot[]>> {
    return this.#read('api/v1/paths?limit=1000', decodePaths, signal)
  }

  path(name: string, signal?: AbortSignal): Promise<Reply<PathSnapshot>> {
    const encoded = name.split('/').map(encodeURIComponent).join('/')
    return this.#read(`api/v1/paths/${encoded}`, decodePath, signal)
  }

  /** The key browsers subscribe to notifications with; the empty answer of a server that sends none is a problem. */
  push(): Promise<Reply<string>> {
    return this.#read('api/v1/push', (value) => (value as PushInfo | null)?.public_key ?? null)
  }

  /** Tells the server of a subscription of this browser; its name there. */
  async subscribe(subscription: object): Promise<Reply<string>> {
    const decode = (value: unknown) => (value as PushSubscriber | null)?.id ?? null
    const sent = { method: 'POST', body: JSON.stringify(subscription), csrf: await this.#csrf() }
    return this.#read('api/v1/push/subscriptions', decode, undefined, sent)
  }

  async unsubscribe(id: string): Promise<Reply<true>> {
    const sent = { method: 'DELETE', csrf: await this.#csrf() }
    return this.#read(`api/v1/push/subscriptions/${encodeURIComponent(id)}`, () => true, undefined, sent)
  }

  /** The word that must come with what changes something, for a browser that is known by its cookie. */
  async #csrf(): Promise<string> {
    const reply = await this.whoami()
    return (reply.kind === 'ok' && reply.value.csrf_token) || ''
  }

  /** Who asks; a problem where nobody is known. */
  whoami(signal?: AbortSignal): Promise<Reply<WhoAmI>> {
    return this.#read('api/v1/auth/whoami', (value) => (typeof value === 'object' ? (value as WhoAmI | null) : null), signal)
  }

  /** Logs in; the server remembers this browser by a cookie that no script reads. */
  login(name: string, password: string): Promise<Reply<true>> {
    return this.#read('api/v1/auth/login', () => true, undefined, { method: 'POST', body: JSON.stringify({ name, password }) })
  }

  /** Logs out: this login is over everywhere, and the cookie is gone. */
  async logout(): Promise<Reply<true>> {
    return this.#read('api/v1/auth/logout', () => true, undefined, { method: 'POST', csrf: await this.#csrf() })
  }

  async #read<T>(
    path: string,
    decode: (value: unknown) => T | null,
    signal?: AbortSignal,
    sent?: { method: string; body?: string; csrf?: string },
  ): Promise<Reply<T>> {
    const controller = new AbortController()
    const stop = () => controller.abort()
    const timer = setTimeout(stop, TIMEOUT_MS)
    signal?.addEventListener('abort', stop)
    if (signal?.aborted) stop()
    try {
      const response = await fetch(new URL(path, this.#root), {
        credentials: 'same-origin',
        headers: {
          accept: 'application/json',
          ...(this.#token && { authorization: `Bearer ${this.#token}` }),
          ...(sent?.body && { 'content-type': 'application/json' }),
          ...(sent?.csrf && { 'x-csrf-token': sent.csrf }),
        },
        ...(sent && { method: sent.method }),
        ...(sent?.body && { body: sent.body }),
        signal: controller.signal,
      })
      const body = await readJson(response)
      if (!response.ok) return problem(response, body)
      const value = decode(body)
      return value === null
        ? { kind: 'unreachable', message: 'the answer is not what this page expects' }
        : { kind: 'ok', value }
    } catch (error) {
      if (signal?.aborted) return { kind: 'aborted' }
      if (controller.signal.aborted) return { kind: 'unreachable', message: 'no answer in time' }
      return { kind: 'unreachable', message: error instanceof Error ? error.message : String(error) }
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
    }
  }
}

async function readJson(response: Response): Promise<unknown> {
  try {
    return (await response.json()) as unknown
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}

function problem(response: Response, body: unknown): Reply<never> {
  const fields = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {}
  const text = (...names: string[]) => names.map((name) => fields[name]).find((value) => typeof value === 'string')
  return {
    kind: 'problem',
    status: response.status,
    code: (text('code') as string | undefined) ?? `http_${response.status}`,
    message: (text('detail', 'message', 'title') as string | undefined) ?? `the server answered ${response.status}`,
    hint: (text('hint') as string | undefined) ?? null,
  }
}
