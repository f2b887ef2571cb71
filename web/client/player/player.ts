// One camera in one `<video>`: chooses the tier, watches that the picture moves, starts again with growing waits, sleeps
// in a hidden tab, and says what it is doing in one word.
//
// Owns the tier and its timers. Does not draw anything: a view reads `snapshot` whenever `onChange` is called.
import { Backoff } from './backoff'
import { HlsTier } from './hls'
import { latencyOf, type Latency } from './latency'
import { NativeTier } from './native'
import { isLasting, type Failure, type Quality, type Tier, type TierEvents, type TierName } from './tier'
import { frameCounts, hasAudio, motionOf } from './video'
import { Watchdog } from './watchdog'
import { WebRtcTier } from './webrtc'

export type PlayerState =
  /** Not started, or asleep in a hidden tab. */
  | 'idle'
  /** The first attempt. */
  | 'connecting'
  /** Pictures move. */
  | 'live'
  /** Pictures stopped; waiting for them to come back by themselves. */
  | 'stalled'
  /** A later attempt, or the wait before it. */
  | 'reconnecting'
  /** By the viewer's wish. */
  | 'paused'
  /** The browser wants a click first. */
  | 'blocked'
  /** No further attempt will help; `reason` says why. */
  | 'failed'
  | 'closed'

export interface PlayerSnapshot {
  state: PlayerState
  tier: TierName | null
  /** Why it is not the best tier that plays; null while it is, or nothing was tried yet. */
  fellBack: Failure | null
  attempt: number
  reason: Failure | null
  latency: Latency | null
  muted: boolean
  hasAudio: boolean
  qualities: Quality[]
  quality: number
  figures: Figures
}

export interface Figures {
  width: number
  height: number
  fps: number
  frames: number
  dropped: number
  bufferS: number
  bandwidthBps: number | null
  stalls: number
  reconnects: number
  /** From `start` to the first picture of the last attempt. */
  firstPictureMs: number | null
}

/** Where the same camera plays. */
export interface Sources {
  hls: string
  /** Null where the server has no WebRTC. */
  whep: string | null
}

/** `second` asks for the best but one: the best has just failed. */
export type TierFactory = (
  video: HTMLVideoElement,
  sources: Sources,
  events: TierEvents,
  second: boolean,
) => Promise<Tier | null>

export interface PlayerOptions {
  video: HTMLVideoElement
  sources: Sources
  onChange: (snapshot: PlayerSnapshot) => void
  /** Called before the picture is let go, so that the view may keep the last one. */
  onRelease?: () => void
  tiers?: TierFactory
  random?: () => number
}

const TICK_MS = 500
const LATE_MS = 2_000
const DEAD_MS = 8_000
/** No first picture for so long: the attempt has failed. */
const FIRST_PICTURE_MS = 15_000
/** WebRTC is there at once or not at all, and something else plays as well. */
const FIRST_PICTURE_WEBRTC_MS = 3_000
const FIRST_WAIT_MS = 500
const MOST_WAIT_MS = 8_000
/** A tab that is hidden for so long stops loading. */
const HIDDEN_MS = 10_000

/** WebRTC first; then hls.js wherever the browser has Media Source Extensions, the browser's own player elsewhere. */
export const bestTier: TierFactory = async (video, { hls, whep }, events, second) => {
  if (whep && !second && WebRtcTier.isSupported()) return new WebRtcTier(video, whep, events)
  if (await HlsTier.isSupported()) return new HlsTier(video, hls, events)
  return NativeTier.isSupported(video) ? new NativeTier(video, hls, events) : null
}

export class Player {
  readonly #options: PlayerOptions
  readonly #video: HTMLVideoElement
  readonly #backoff: Backoff
  readonly #watchdog = new Watchdog({ lateMs: LATE_MS, deadMs: DEAD_MS })
  readonly #listeners = new AbortController()
  #state: PlayerState = 'idle'
  #tier: Tier | null = null
  /** Every attempt has a number; what an older one reports is ignored. */
  #generation = 0
  #reason: Failure | null = null
  #fellBack: Failure | null = null
  #startedAt = 0
  #firstPictureMs: number | null = null
  #stalls = 0
  #reconnects = 0
  #asleep = false
  #fps = { at: 0, frames: 0, value: 0 }
  #ticker: ReturnType<typeof setInterval> | undefined
  #retryTimer: ReturnType<typeof setTimeout> | undefined
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined

  constructor(options: PlayerOptions) {
    this.#options = options
    this.#video = options.video
    const { random } = options
    this.#backoff = new Backoff({ firstMs: FIRST_WAIT_MS, mostMs: MOST_WAIT_MS, ...(random ? { random } : {}) })
    const { signal } = this.#listeners
    const video = this.#video
    // Safari reads the attributes, everyone else the properties; both before the first `src`.
    video.muted = true
    video.defaultMuted = true
    video.playsInline = true
    video.setAttribute('muted', '')
    video.setAttribute('playsinline', '')
    video.addEventListener('loadeddata', () => this.#play(), { signal })
    video.addEventListener('volumechange', () => this.#announce(), { signal })
    video.addEventListener('playing', () => this.#onPlaying(), { signal })
    document.addEventListener('visibilitychange', () => this.#onVisibility(), { signal })
    window.addEventListener('online', () => this.retry(), { signal })
  }

  get snapshot(): PlayerSnapshot {
    const readout = this.#tier?.readout()
    const { list, chosen } = this.#tier?.qualities() ?? { list: [], chosen: -1 }
    const live = this.#state === 'live' && readout
    return {
      state: this.#state,
      tier: this.#tier?.name ?? null,
      fellBack: this.#fellBack,
      attempt: this.#backoff.attempts,
      reason: this.#reason,
      latency: live ? latencyOf(readout.edge, readout.captured, Date.now()) : null,
      muted: this.#video.muted,
      hasAudio: hasAudio(this.#video),
      qualities: list,
      quality: chosen,
      figures: this.#figures(readout?.bandwidth ?? null),
    }
  }

  start(): void {
    if (this.#state !== 'idle') return
    this.#ticker ??= setInterval(() => this.#tick(), TICK_MS)
    this.#attempt('connecting')
  }

  /** Tries at once instead of waiting; also leaves `failed`. */
  retry(): void {
    if (this.#state !== 'reconnecting' && this.#state !== 'failed') return
    this.#backoff.reset()
    this.#attempt('reconnecting')
  }

  /** Tries the best tier again, although another one plays. */
  retryBest(): void {
    if (!this.#fellBack || this.#state === 'closed') return
    this.#fellBack = null
    this.#backoff.reset()
    this.#attempt('reconnecting')
  }

  /** Plays on, from the newest picture. */
  resume(): void {
    if (this.#state === 'idle') return this.start()
    if (this.#state !== 'paused' && this.#state !== 'blocked') return
    this.#tier?.goLive()
    this.#watchdog.reset(performance.now())
    this.#set(this.#firstPictureMs === null ? 'connecting' : 'live')
    this.#play()
  }

  pause(): void {
    if (this.#state !== 'live' && this.#state !== 'stalled') return
    this.#set('paused')
    this.#video.pause()
    this.#tier?.hold()
  }

  setMuted(muted: boolean): void {
    this.#video.muted = muted
    if (!muted && this.#video.volume === 0) this.#video.volume = 1
  }

  choose(quality: number): void {
    this.#tier?.choose(quality)
    this.#announce()
  }

  close(): void {
    if (this.#state === 'closed') return
    this.#release()
    this.#listeners.abort()
    clearInterval(this.#ticker)
    clearTimeout(this.#hiddenTimer)
    this.#state = 'closed'
  }

  #attempt(state: 'connecting' | 'reconnecting'): void {
    this.#release()
    const generation = ++this.#generation
    this.#startedAt = performance.now()
    this.#firstPictureMs = null
    this.#set(state)
    const events: TierEvents = {
      onState: (tierState, failure) => {
        if (generation === this.#generation && tierState === 'failed' && failure) this.#onFailure(failure)
      },
      onQualities: () => this.#announce(),
    }
    const { tiers = bestTier, sources } = this.#options
    tiers(this.#video, sources, events, this.#fellBack !== null).then(
      (tier) => {
        if (generation !== this.#generation) return
        if (!tier) {
          this.#onFailure({ kind: 'codec', message: 'this browser can play neither Media Source nor HLS' })
          return
        }
        this.#tier = tier
        this.#play()
        void tier.start()
      },
      (error: unknown) => {
        if (generation !== this.#generation) return
        this.#onFailure({ kind: 'network', message: `the player could not be loaded: ${String(error)}` })
      },
    )
  }

  #release(): void {
    clearTimeout(this.#retryTimer)
    this.#generation += 1
    const tier = this.#tier
    if (!tier) return
    this.#options.onRelease?.()
    this.#tier = null
    tier.close()
  }

  #onFailure(failure: Failure): void {
    const denied = failure.status === 401 || failure.status === 403
    if (this.#tier?.name === 'webrtc' && !denied && (this.#firstPictureMs === null || failure.kind === 'codec')) {
      // It never showed a picture here: the next best plays, now.
      this.#fellBack = failure
      this.#attempt(this.#state === 'reconnecting' ? 'reconnecting' : 'connecting')
      return
    }
    // What may have passed by the next attempt is no reason to do without the best for ever.
    if (this.#fellBack && !isLasting(this.#fellBack)) this.#fellBack = null
    this.#reason = failure
    this.#release()
    // What a second try cannot change: a missing decoder, a missing right.
    const final = failure.kind === 'codec' || denied
    if (final) {
      this.#set('failed')
      return
    }
    this.#reconnects += 1
    this.#retryTimer = setTimeout(() => this.#attempt('reconnecting'), this.#backoff.next())
    this.#set('reconnecting')
  }

  #play(): void {
    if (this.#state === 'paused' || this.#state === 'closed') return
    const { play } = this.#video
    if (typeof play !== 'function') return
    const played = play.call(this.#video) as Promise<void> | undefined
    played?.catch((error: unknown) => {
      // Muted play is allowed nearly everywhere; a phone that saves power still refuses.
      const refused = error instanceof DOMException && error.name === 'NotAllowedError'
      if (refused && this.#tier) this.#set('blocked')
    })
  }

  #onPlaying(): void {
    if (this.#state === 'paused') return
    if (this.#firstPictureMs === null && this.#tier) {
      this.#firstPictureMs = performance.now() - this.#startedAt
      this.#watchdog.reset(performance.now())
    }
    if (this.#tier) this.#set('live')
  }

  #tick(): void {
    const now = performance.now()
    const watched = this.#state === 'live' || this.#state === 'stalled'
    if (watched && !document.hidden) {
      const verdict = this.#watchdog.observe(motionOf(this.#video), now)
      if (verdict === 'dead') this.#onFailure({ kind: 'media', message: 'no new picture' })
      else if (verdict === 'late' && this.#state === 'live') {
        this.#stalls += 1
        this.#set('stalled')
      } else if (verdict === 'moving') {
        // Only moving pictures prove that an attempt worked.
        if (now - this.#startedAt > MOST_WAIT_MS) this.#backoff.reset()
        this.#reason = null
        this.#set('live')
      }
    } else if (watched) {
      this.#watchdog.reset(now)
    } else if (this.#tier && (this.#state === 'connecting' || this.#state === 'reconnecting')) {
      const { answeredAt } = this.#tier
      const late = answeredAt != null && !document.hidden && now - answeredAt > FIRST_PICTURE_WEBRTC_MS
      if (late || now - this.#startedAt > FIRST_PICTURE_MS) this.#onFailure({ kind: 'media', message: 'no first picture' })
    }
    this.#countFrames(now)
    this.#announce()
  }

  #onVisibility(): void {
    clearTimeout(this.#hiddenTimer)
    if (document.hidden) {
      this.#hiddenTimer = setTimeout(() => this.#sleep(), HIDDEN_MS)
      return
    }
    this.#watchdog.reset(performance.now())
    if (this.#asleep) {
      this.#asleep = false
      this.start()
    } else if (this.#state === 'live' || this.#state === 'stalled') {
      this.#tier?.goLive()
      this.#play()
    }
  }

  /** Somebody who listens, or watches in a small window, is still there. */
  #sleep(): void {
    const used = !this.#video.muted || document.pictureInPictureElement === this.#video
    if (used || this.#state === 'paused' || this.#state === 'failed' || this.#state === 'closed') return
    this.#asleep = true
    this.#release()
    this.#set('idle')
  }

  #countFrames(now: number): void {
    const { frames } = frameCounts(this.#video)
    const { at, frames: before } = this.#fps
    if (now - at < 900) return
    const value = at > 0 && frames >= before ? ((frames - before) * 1000) / (now - at) : 0
    this.#fps = { at: now, frames, value }
  }

  #figures(bandwidthBps: number | null): Figures {
    const video = this.#video
    const { frames, dropped } = frameCounts(video)
    const { buffered } = video
    const bufferS = buffered.length > 0 ? Math.max(0, buffered.end(buffered.length - 1) - video.currentTime) : 0
    return {
      width: video.videoWidth,
      height: video.videoHeight,
      fps: this.#fps.value,
      frames,
      dropped,
      bufferS,
      bandwidthBps,
      stalls: this.#stalls,
      reconnects: this.#reconnects,
      firstPictureMs: this.#firstPictureMs,
    }
  }

  #set(state: PlayerState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.#announce()
  }

  #announce(): void {
    if (this.#state !== 'closed') this.#options.onChange(this.snapshot)
  }
}
