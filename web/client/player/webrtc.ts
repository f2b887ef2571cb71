// WebRTC: the least delay there is, and no buffer to speak of. The session is `whep.ts`'s; this one plays its stream.
import { Whep } from '../whep'
import type { Failure, Quality, Tier, TierEvents, TierReadout, TierState } from './tier'

/** From 1900, where senders count from, to 1970, in ms. */
const NTP_TO_UNIX_MS = 2_208_988_800_000
const SAMPLE_MS = 900

interface Sample {
  at: number
  /** What the browser itself adds, in seconds. */
  edge: number
  /** How old the picture on screen is by the sender's clock, in ms. */
  age: number | null
  bandwidth: number | null
  bytes: number
  delay: number
  emitted: number
}

export class WebRtcTier implements Tier {
  readonly name = 'webrtc'
  readonly #video: HTMLVideoElement
  readonly #events: TierEvents
  readonly #whep: Whep
  #state: TierState = 'idle'
  #sample: Sample | null = null
  #sampling = false

  constructor(video: HTMLVideoElement, url: string, events: TierEvents) {
    this.#video = video
    this.#events = events
    this.#whep = new Whep({
      url,
      events: {
        onStream: (stream) => {
          if (this.#state === 'loading' && video.srcObject !== stream) video.srcObject = stream
        },
        onConnected: () => this.#onConnected(),
        onFailed: (failure) => this.#fail(failure),
      },
    })
  }

  static isSupported(): boolean {
    return Whep.isSupported()
  }

  get state(): TierState {
    return this.#state
  }

  get answeredAt(): number | null {
    return this.#whep.answeredAt
  }

  async start(): Promise<void> {
    this.#set('loading')
    await this.#whep.start()
  }

  goLive(): void {
    // It is never anywhere else.
  }

  hold(): void {
    // The stream goes on: a new session would take longer than a pause is worth.
  }

  readout(): TierReadout {
    void this.#take()
    const sample = this.#sample
    if (!sample) return { edge: Number.NaN, captured: null, bandwidth: null }
    const captured = sample.age === null ? null : Date.now() - sample.age
    return { edge: sample.edge, captured, bandwidth: sample.bandwidth }
  }

  qualities(): { list: Quality[]; chosen: number } {
    return { list: [], chosen: -1 }
  }

  choose(): void {
    // The server chooses: `qualities` is empty.
  }

  close(): void {
    this.#state = 'closed'
    this.#whep.close()
    this.#video.srcObject = null
  }

  #onConnected(): void {
    // The server sends them all the same; no browser puts them in order.
    if (this.#whep.notice.includes('reordered-pictures')) {
      this.#fail({ kind: 'codec', message: 'the camera’s pictures come out of order (B-frames)' })
      return
    }
    this.#set('playing')
  }

  async #take(): Promise<void> {
    const connection = this.#whep.connection
    const now = performance.now()
    if (this.#sampling || !connection || (this.#sample && now - this.#sample.at < SAMPLE_MS)) return
    this.#sampling = true
    try {
      const sample = read(await connection.getStats(), now, this.#sample)
      if (sample) this.#sample = sample
    } finally {
      this.#sampling = false
    }
  }

  #fail(failure: Failure): void {
    if (this.#state === 'closed' || this.#state === 'failed') return
    this.#state = 'failed'
    this.#events.onState('failed', failure)
  }

  #set(state: TierState): void {
    if (this.#state === state || this.#state === 'closed' || this.#state === 'failed') return
    this.#state = state
    this.#events.onState(state, null)
  }
}

type Figures = Record<string, number | string | boolean | undefined>

/** What the browser counts, made into what the player shows. */
export function read(stats: Iterable<[string, unknown]> | RTCStatsReport, now: number, before: Sample | null): Sample | null {
  let picture: Figures | undefined
  let roundTrip = 0
  for (const [, entry] of stats as Iterable<[string, Figures]>) {
    if (entry['type'] === 'inbound-rtp' && entry['kind'] === 'video') picture = entry
    if (entry['type'] === 'candidate-pair' && entry['nominated']) roundTrip = Number(entry['currentRoundTripTime'] ?? 0)
  }
  if (!picture) return null
  const number = (name: string) => Number(picture[name] ?? 0)
  const [bytes, delay, emitted] = [number('bytesReceived'), number('jitterBufferDelay'), number('jitterBufferEmittedCount')]
  const shown = emitted - (before?.emitted ?? 0)
  const buffered = shown > 0 ? (delay - (before?.delay ?? 0)) / shown : (before?.edge ?? 0)
  const playout = number('estimatedPlayoutTimestamp')
  const unix = playout > NTP_TO_UNIX_MS ? playout - NTP_TO_UNIX_MS : playout
  const at = number('timestamp')
  return {
    at: now,
    edge: Math.max(0.001, buffered + roundTrip / 2),
    age: playout > 0 && at > 0 ? at - unix : null,
    bandwidth: before && now > before.at ? ((bytes - before.bytes) * 8000) / (now - before.at) : null,
    bytes,
    delay,
    emitted,
  }
}
