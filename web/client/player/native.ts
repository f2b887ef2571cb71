// HLS by the browser itself, where Media Source Extensions are missing (older iPhones). Not Low-Latency on all of them.
import type { Quality, Tier, TierEvents, TierReadout, TierState } from './tier'

export class NativeTier implements Tier {
  readonly name = 'native'
  readonly #video: HTMLVideoElement
  readonly #url: string
  readonly #events: TierEvents
  #state: TierState = 'idle'
  #listeners = new AbortController()

  constructor(video: HTMLVideoElement, url: string, events: TierEvents) {
    this.#video = video
    this.#url = url
    this.#events = events
  }

  static isSupported(video: HTMLVideoElement): boolean {
    return video.canPlayType('application/vnd.apple.mpegurl') !== ''
  }

  get state(): TierState {
    return this.#state
  }

  async start(): Promise<void> {
    const { signal } = this.#listeners
    this.#set('loading')
    this.#video.addEventListener('loadeddata', () => this.#set('playing'), { signal })
    this.#video.addEventListener('error', () => this.#onError(), { signal })
    this.#video.src = this.#url
    this.#video.load()
  }

  goLive(): void {
    const { seekable } = this.#video
    if (seekable.length > 0) this.#video.currentTime = seekable.end(seekable.length - 1)
  }

  hold(): void {
    // The browser decides for itself what it loads.
  }

  readout(): TierReadout {
    const { seekable, currentTime } = this.#video
    const edge = seekable.length > 0 ? seekable.end(seekable.length - 1) - currentTime : Number.NaN
    const start = (this.#video as HTMLVideoElement & { getStartDate?: () => Date }).getStartDate?.().getTime()
    const captured = start !== undefined && Number.isFinite(start) ? start + currentTime * 1000 : null
    return { edge, captured, bandwidth: null }
  }

  qualities(): { list: Quality[]; chosen: number } {
    return { list: [], chosen: -1 }
  }

  choose(): void {
    // Not offered: `qualities` is empty.
  }

  close(): void {
    this.#listeners.abort()
    this.#state = 'closed'
    this.#video.removeAttribute('src')
    this.#video.load()
  }

  #onError(): void {
    if (this.#state === 'closed' || this.#state === 'failed') return
    const error = this.#video.error
    const codec = error?.code === 3 || (error?.code === 4 && error.message.toLowerCase().includes('codec'))
    this.#state = 'failed'
    const message = error?.message || 'the browser could not play it'
    this.#events.onState('failed', { kind: codec ? 'codec' : 'network', message })
  }

  #set(state: TierState): void {
    if (this.#state === state || this.#state === 'closed' || this.#state === 'failed') return
    this.#state = state
    this.#events.onState(state, null)
  }
}
