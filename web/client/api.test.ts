import { afterEach, describe, expect, it, vi } from 'vitest'
import { Api } from './api'

const api = new Api(new URL('http://box/cams/'))

function answer(body: unknown, status = 200) {
  const fake = vi.fn(async (_url: URL, _init?: RequestInit) => new Response(typeof body === 'string' ? body : JSON.stringify(body), { status }))
  vi.stubGlobal('fetch', fake)
  return fake
}

afterEach(() => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

describe('writes', () => {
  it('come with the word that a browser known by its cookie must say', async () => {
    const seen: [string, RequestInit | undefined][] = []
    vi.stubGlobal('fetch', async (url: URL, init?: RequestInit) => {
      seen.push([url.pathname, init])
      return new Response(JSON.stringify(url.pathname.endsWith('whoami') ? { csrf_token: 'word' } : { id: 's1' }))
    })
    const api = new Api(new URL('http://box/cams/'))
    expect(await api.subscribe({ endpoint: 'x' })).toEqual({ kind: 'ok', value: 's1' })
    expect(await api.unsubscribe('s1')).toEqual({ kind: 'ok', value: true })
    const said = seen.map(([path, init]) => [path, init?.method, (init?.headers as Record<string, string>)['x-csrf-token']])
    expect(said).toEqual([
      ['/cams/api/v1/auth/whoami', undefined, undefined],
      ['/cams/api/v1/push/subscriptions', 'POST', 'word'],
      ['/cams/api/v1/auth/whoami', undefined, undefined],
      ['/cams/api/v1/push/subscriptions/s1', 'DELETE', 'word'],
    ])
  })
})

describe('Api', () => {
  it('asks below the root and keeps the slashes of a path', async () => {
    const fake = answer({ name: 'site/gate', state: 'ready' })
    const reply = await api.path('site/gate')
    expect(String(fake.mock.calls[0]?.[0])).toBe('http://box/cams/api/v1/paths/site/gate')
    expect(reply).toEqual({ kind: 'ok', value: { name: 'site/gate', state: 'ready', tracks: [], renditions: [] } })
  })

  it('reads a list and leaves out what is no path', async () => {
    answer({ items: [{ name: 'a', state: 'lost', tracks: [] }, null, {}, { name: 'b', state: 'from the future' }] })
    const reply = await api.paths()
    expect(reply.kind === 'ok' && reply.value.map(({ name, state }) => [name, state])).toEqual([
      ['a', 'lost'],
      ['b', 'waiting'],
    ])
  })

  it('tells a problem with its code and hint', async () => {
    answer({ code: 'path_not_found', detail: 'path x: not configured', hint: 'add it' }, 404)
    expect(await api.path('x')).toEqual({
      kind: 'problem',
      status: 404,
      code: 'path_not_found',
      message: 'path x: not configured',
      hint: 'add it',
    })
  })

  it('names the status when the body is not a problem', async () => {
    answer('<html>bad gateway</html>', 502)
    expect(await api.paths()).toMatchObject({ kind: 'problem', code: 'http_502', message: 'the server answered 502' })
  })

  it.each([['not json'], [{ items: 'none' }], [null]])('does not take %j for a list', async (body) => {
    answer(body)
    expect((await api.paths()).kind).toBe('unreachable')
  })

  it('says unreachable when nobody answers', async () => {
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')))
    expect(await api.paths()).toEqual({ kind: 'unreachable', message: 'Failed to fetch' })
  })

  it('gives up after a time, and at once when the caller does', async () => {
    vi.useFakeTimers()
    const hang = (_url: URL, init: RequestInit) =>
      new Promise((_, reject) => init.signal?.addEventListener('abort', () => reject(new DOMException('', 'AbortError'))))
    vi.stubGlobal('fetch', hang)
    const slow = api.paths()
    await vi.advanceTimersByTimeAsync(8_000)
    expect(await slow).toEqual({ kind: 'unreachable', message: 'no answer in time' })
    const controller = new AbortController()
    const left = api.paths(controller.signal)
    controller.abort()
    expect(await left).toEqual({ kind: 'aborted' })
  })
})
