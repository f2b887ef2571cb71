import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Api } from './api'
import { Notifications } from './push'

const root = new URL('http://box/cams/')
const key = 'BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs'

interface Asked {
  method: string
  path: string
  body: unknown
}

let asked: Asked[]
let answer: (asked: Asked) => Response
let subscription: ReturnType<typeof browserSubscription> | null

function bytesOf(text: string): ArrayBuffer {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'))
  return Uint8Array.from(binary, (c) => c.charCodeAt(0)).buffer
}

function browserSubscription(applicationServerKey: string) {
  return {
    options: { applicationServerKey: bytesOf(applicationServerKey) },
    toJSON: () => ({ endpoint: 'https://push.example/1', keys: { p256dh: 'p', auth: 'a' } }),
    unsubscribe: vi.fn(async () => {
      subscription = null
      return true
    }),
  }
}

beforeEach(() => {
  asked = []
  subscription = null
  answer = ({ path }) =>
    new Response(JSON.stringify(path === 'push' ? { enabled: true, public_key: key } : { id: 'abc' }), { status: 200 })
  vi.stubGlobal('fetch', async (url: URL, init: RequestInit) => {
    const call = {
      method: init.method ?? 'GET',
      path: url.pathname.replace('/cams/api/v1/', ''),
      body: init.body ? JSON.parse(String(init.body)) : null,
    }
    asked.push(call)
    return answer(call)
  })
  const registration = {
    active: {},
    pushManager: {
      getSubscription: async () => subscription,
      subscribe: async (options: { userVisibleOnly: boolean; applicationServerKey: string }) => {
        expect(options.userVisibleOnly).toBe(true)
        subscription = browserSubscription(options.applicationServerKey)
        return subscription
      },
    },
  }
  const register = vi.fn(async (_: URL) => registration)
  Object.defineProperty(navigator, 'serviceWorker', {
    configurable: true,
    value: { register, getRegistration: async () => (register.mock.calls.length > 0 || subscription ? registration : undefined) },
  })
  vi.stubGlobal('PushManager', class {})
  vi.stubGlobal('Notification', { permission: 'default', requestPermission: async () => 'granted' })
})

afterEach(() => {
  vi.unstubAllGlobals()
  Reflect.deleteProperty(navigator, 'serviceWorker')
})

describe('notifications of a browser', () => {
  it('subscribe with the key of the server, below its prefix, and stop again', async () => {
    const notifications = new Notifications(new Api(root), root)
    expect(await notifications.state()).toBe('off')
    expect(await notifications.enable()).toEqual({ kind: 'ok', value: 'on' })
    const registered = vi.mocked(navigator.serviceWorker.register).mock.calls[0]?.[0]
    expect(String(registered)).toBe('http://box/cams/assets/push-worker.js')
    const told = asked.find(({ method }) => method === 'POST')
    expect(told).toMatchObject({ path: 'push/subscriptions', body: { endpoint: 'https://push.example/1', keys: { p256dh: 'p', auth: 'a' } } })
    expect(await notifications.state()).toBe('on')
    await notifications.disable()
    expect(subscription).toBeNull()
    expect(asked.at(-1)).toMatchObject({ method: 'DELETE', path: 'push/subscriptions/abc' })
  })

  it('take a new key of the server', async () => {
    const old = browserSubscription('AAAA')
    subscription = old
    const notifications = new Notifications(new Api(root), root)
    expect(await notifications.state()).toBe('on')
    expect(old.unsubscribe).toHaveBeenCalled()
    expect(subscription).not.toBe(old)
  })

  it('are taken back in the browser when the server refuses', async () => {
    answer = ({ path }) =>
      path === 'push'
        ? new Response(JSON.stringify({ enabled: true, public_key: key }))
        : new Response(JSON.stringify({ code: 'too_many_subscriptions', detail: 'too many' }), { status: 503 })
    const reply = await new Notifications(new Api(root), root).enable()
    expect(reply).toMatchObject({ kind: 'problem', code: 'too_many_subscriptions' })
    expect(subscription).toBeNull()
  })

  it('are unavailable where the server sends none, and denied where the reader said no', async () => {
    vi.stubGlobal('Notification', { permission: 'denied' })
    expect(await new Notifications(new Api(root), root).state()).toBe('denied')
    answer = () => new Response(JSON.stringify({ enabled: false, public_key: null }))
    expect(await new Notifications(new Api(root), root).state()).toBe('unavailable')
  })
})
