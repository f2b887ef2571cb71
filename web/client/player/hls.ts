// Low-Latency HLS by hls.js, loaded when first needed.
//
// The recipe, none of it default: the hold-back comes from the server, so no `liveSync…` option is set; a player that
// fell behind catches up by rate when near and by a seek when far (`liveMaxLatencyDuration`, which the constructor
// refuses without `liveSync…`, hence afterwards); a stall does not move the target for good.
import type Hls from 'hls.js/light'
import type { ErrorData } from 'hls.js/light'
import { labels } from './qualities'
import type { Failure, Quality, Tier, TierEvents, TierReadout, TierState } from './tier'

type HlsModule = typeof import('hls.js/light')

const CATCH_UP_RATE = 1.15
const FARTHEST_S = 4
const BUFFER_S = 10
/** A second media error within this time is not an accident. */
const RECOVERY_MS = 10_000

export class HlsTier implements Tier {
  readonly name = 'll-hls'
  readonly #video: HTMLVideoElement
  readonly #url: string
  readonly #events: TierEvents
  #state: TierState = 'idle'
  #hls: Hls | null = null
  #recoveredAt = -Infinity

  constructor(video: HTMLVideoElement, url: string, events: TierEvents) {
    this.#video = video
    this.#url = url
    this.#events = events
  }

  static async isSupported(): Promise<boolean> {
    return (await import('hls.js/light')).default.isSupported()
  }

  get state(): TierState {
    return this.#state
  }

  async start(): Promise<void> {
    this.#set('loading')
    let module: HlsModule
    try {
      module = await import('hls.js/light')
    } catch (error) {
      this.#fail({ kind: 'network', message: `the player could not be loaded: ${String(error)}` })
      return
    }
    // It may have been closed while the module was on its way.
    if (this.#state !== 'loading') return
    const { default: HlsClass, Events } = module
    const hls = new HlsClass({
      lowLatencyMode: true,
      maxLiveSyncPlaybackRate: CATCH_UP_RATE,
      liveSyncOnStallIncrease: 0,
      backBufferLength: BUFFER_S,
      maxBufferLength: BUFFER_S,
      liveDurationInfinity: true,
      // hls.js takes no playlist without a whole segment (`levelEmptyError`), which is how every stream begins, and by
      // default it then waits one, two and four seconds.
      playlistLoadPolicy: {
        default: {
          maxTimeToFirstByteMs: 10_000,
          maxLoadTimeMs: 20_000,
          timeoutRetry: { maxNumRetry: 2, retryDelayMs: 0, maxRetryDelayMs: 0 },
          errorRetry: { maxNumRetry: 30, retryDelayMs: 250, maxRetryDelayMs: 250 },
        },
      },
      // One camera fills the page: begin with its best picture and step down, not up.
      abrEwmaDefaultEstimate: 50_000_000,
      capLevelToPlayerSize: false,
      xhrSetup: (request) => {
        request.withCredentials = true
      },
    })
    hls.config.liveMaxLatencyDuration = FARTHEST_S
    // A server without parts asks for a longer hold-back: "far behind" is then further away.
    hls.on(Events.LEVEL_UPDATED, () => {
      hls.config.liveMaxLatencyDuration = Math.max(FARTHEST_S, (hls.targetLatency ?? 0) + FARTHEST_S - 1)
    })
    this.#hls = hls
    hls.on(Events.ERROR, (_event, data) => {
      if (data.fatal) this.#recover(module, data)
    })
    hls.on(Events.MANIFEST_PARSED, () => this.#events.onQualities())
    hls.on(Events.LEVEL_SWITCHED, () => this.#events.onQualities())
    hls.on(Events.FRAG_BUFFERED, () => this.#set('playing'))
    hls.loadSource(this.#url)
    hls.attachMedia(this.#video)
  }

  goLive(): void {
    const hls = this.#hls
    if (!hls) return
    hls.startLoad(-1)
    const live = hls.liveSyncPosition
    if (live !== null && live > this.#video.currentTime + 0.5) this.#video.currentTime = live
  }

  hold(): void {
    this.#hls?.stopLoad()
  }

  readout(): TierReadout {
    const hls = this.#hls
    if (!hls) return { edge: Number.NaN, captured: null, bandwidth: null }
    return {
      edge: hls.latency,
      captured: hls.playingDate?.getTime() ?? null,
      bandwidth: Number.isFinite(hls.bandwidthEstimate) ? hls.bandwidthEstimate : null,
    }
  }

  qualities(): { list: Quality[]; chosen: number } {
    const hls = this.#hls
    if (!hls) return { list: [], chosen: -1 }
    const list = labels(hls.levels).map((label, id) => ({ id, label }))
    return { list: list.reverse(), chosen: hls.autoLevelEnabled ? -1 : hls.loadLevel }
  }

  choose(quality: number): void {
    if (this.#hls) this.#hls.nextLevel = quality
  }

  close(): void {
    const hls = this.#hls
    this.#hls = null
    this.#state = 'closed'
    hls?.destroy()
  }

  #recover({ ErrorTypes, ErrorDetails }: HlsModule, data: ErrorData): void {
    const status = data.response?.code
    const incompatible: string[] = [
      ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR,
      ErrorDetails.BUFFER_ADD_CODEC_ERROR,
      ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR,
    ]
    if (incompatible.includes(data.details)) {
      this.#fail({ kind: 'codec', message: data.error?.message ?? data.details })
    } else if (data.type === ErrorTypes.MEDIA_ERROR) {
      const now = performance.now()
      if (now - this.#recoveredAt < RECOVERY_MS) {
        this.#fail({ kind: 'media', message: data.details })
      } else {
        this.#recoveredAt = now
        this.#hls?.recoverMediaError()
        void this.#video.play().catch(() => undefined)
      }
    } else if (status === 422) {
      // The server says that nothing of this camera can be sent this way, and why.
      this.#fail({ kind: 'codec', message: detail(data) ?? data.details, status })
    } else if (status !== undefined && status >= 400 && status < 500) {
      this.#fail({ kind: 'refused', message: data.details, status })
    } else {
      this.#fail({ kind: 'network', message: data.details, ...(status ? { status } : {}) })
    }
  }

  #fail(failure: Failure): void {
    if (this.#state === 'closed') return
    this.#state = 'failed'
    this.#events.onState('failed', failure)
  }

  #set(state: TierState): void {
    if (this.#state === state || this.#state === 'closed' || this.#state === 'failed') return
    this.#state = state
    this.#events.onState(state, null)
  }
}

/** What the server's problem body says, if there is one. */
function detail({ networkDetails }: ErrorData): string | null {
  try {
    const { detail } = JSON.parse((networkDetails as XMLHttpRequest).responseText)
    return typeof detail === 'string' ? detail : null
  } catch {
    return null
  }
}
