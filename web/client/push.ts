// Notifications of this browser: asks for the right, subscribes at the browser's push service, and tells the server.
import type { Api, Reply } from './api'

export type PushState =
  /** The server or the browser offers none. */
  | 'unavailable'
  | 'off'
  | 'on'
  /** The reader has said no, and only the browser's settings change that. */
  | 'denied'

export class Notifications {
  readonly #api: Api
  readonly #worker: URL

  constructor(api: Api, root: URL) {
    this.#api = api
    this.#worker = new URL('assets/push-worker.js', root)
  }

  /** How it is. A subscription that is there is told again: the server may have lost it, or have a new key. */
  async state(): Promise<PushState> {
    const key = await this.#key()
    if (key === null) return 'unavailable'
    if (Notification.permission === 'denied') return 'denied'
    const registration = await this.#registered()
    const subscription = await registration?.pushManager.getSubscription()
    if (!registration || !subscription) return 'off'
    const reply = await this.#tell(await this.#ofKey(registration, subscription, key))
    return reply.kind === 'ok' ? 'on' : 'off'
  }

  /** Must be called from a click: browsers ask the reader then, and only then. */
  async enable(): Promise<Reply<PushState>> {
    if ((await Notification.requestPermission()) !== 'granted') return { kind: 'ok', value: 'denied' }
    try {
      const key = await this.#key()
      if (key === null) return { kind: 'ok', value: 'unavailable' }
      await navigator.serviceWorker.register(this.#worker)
      const registration = await this.#active()
      const before = await registration.pushManager.getSubscription()
      const subscription = before ? await this.#ofKey(registration, before, key) : await subscribe(registration, key)
      const reply = await this.#tell(subscription)
      if (reply.kind === 'ok') return { kind: 'ok', value: 'on' }
      await subscription.unsubscribe()
      return reply
    } catch (error) {
      return { kind: 'unreachable', message: error instanceof Error ? error.message : String(error) }
    }
  }

  /** The browser first: what the server still sends then comes back as gone. */
  async disable(): Promise<void> {
    const subscription = await (await this.#registered())?.pushManager.getSubscription()
    if (!subscription) return
    const reply = await this.#tell(subscription)
    await subscription.unsubscribe()
    if (reply.kind === 'ok') await this.#api.unsubscribe(reply.value)
  }

  async #key(): Promise<string | null> {
    if (!('serviceWorker' in navigator && 'PushManager' in globalThis && 'Notification' in globalThis)) return null
    const reply = await this.#api.push()
    return reply.kind === 'ok' ? reply.value : null
  }

  #registered(): Promise<ServiceWorkerRegistration | undefined> {
    return navigator.serviceWorker.getRegistration(this.#worker)
  }

  /** The registration once its worker runs: a push service wants one that does. */
  async #active(): Promise<ServiceWorkerRegistration> {
    for (let waited = 0; waited < 10_000; waited += 50) {
      const registration = await this.#registered()
      if (registration?.active) return registration
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error('the page’s worker does not start')
  }

  async #ofKey(registration: ServiceWorkerRegistration, subscription: PushSubscription, key: string) {
    const has = subscription.options.applicationServerKey
    if (!has || base64url(has) === key) return subscription
    await subscription.unsubscribe()
    return subscribe(registration, key)
  }

  #tell(subscription: PushSubscription): Promise<Reply<string>> {
    return this.#api.subscribe({ ...subscription.toJSON(), label: navigator.platform || undefined })
  }
}

function subscribe(registration: ServiceWorkerRegistration, key: string): Promise<PushSubscription> {
  return registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key })
}

function base64url(bytes: ArrayBuffer): string {
  return btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '')
}
