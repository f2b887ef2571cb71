import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Player, type PlayerSnapshot, type PlayerState } from './player'
import type { Failure, Tier, TierEvents, TierName, TierState } from './tier'

class FakeTier implements Tier {
  answeredAt: number | null = null
  state: TierState = 'idle'
  live = 0
  held = 0
  constructor(
    readonly events: TierEvents,
    readonly name: TierName = 'll-hls',
  ) {}
  async start() {
    this.state = 'loading'
  }
  goLive() {
    this.live += 1
  }
  hold() {
    this.held += 1
  }
  readout() {
    return { edge: 0.7, captured: null, bandwidth: null }
  }
  qualities() {
    return { list: [], chosen: -1 }
  }
  choose() {}
  close() {
    this.state = 'closed'
  }
  fail(failure: Failure) {
    this.events.onState('failed', failure)
  }
}

class Bench {
  readonly video = document.createElement('video')
  readonly tiers: FakeTier[] = []
  readonly states: PlayerState[] = []
  readonly player: Player
  frames = 0
  released = 0
  best: TierName = 'll-hls'
  last: PlayerSnapshot | null = null

  constructor() {
    this.video.play = () => Promise.resolve()
    this.video.pause = () => undefined
    Object.defineProperty(this.video, 'videoWidth', { value: 640 })
    Object.defineProperty(this.video, 'buffered', { value: { length: 0 } })
    this.video.getVideoPlaybackQuality = () => ({ totalVideoFrames: this.frames, droppedVideoFrames: 0 }) as VideoPlaybackQuality
    this.player = new Player({
      video: this.video,
      sources: { hls: '/demo/index.m3u8', whep: '/demo/whep' },
      random: () => 1,
      onChange: (snapshot) => {
        this.last = snapshot
        if (this.states.at(-1) !== snapshot.state) this.states.push(snapshot.state)
      },
      onRelease: () => (this.released += 1),
      tiers: async (_video, _sources, events, second) => {
        const tier = new FakeTier(events, second ? 'll-hls' : this.best)
        this.tiers.push(tier)
        return tier
      },
    })
  }

  get tier(): FakeTier {
    return this.tiers.at(-1)!
  }

  async live() {
    this.player.start()
    await vi.advanceTimersByTimeAsync(0)
    this.video.dispatchEvent(new Event('playing'))
  }

  async run(ms: number, moving = true) {
    for (let at = 0; at < ms; at += 100) {
      if (moving) this.frames += 3
      await vi.advanceTimersByTimeAsync(100)
    }
  }
}

let bench: Bench
let hidden = false

beforeEach(() => {
  vi.useFakeTimers()
  hidden = false
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden })
  bench = new Bench()
})

afterEach(() => {
  bench.player.close()
  vi.useRealTimers()
})

function hide(value: boolean) {
  hidden = value
  document.dispatchEvent(new Event('visibilitychange'))
}

describe('Player', () => {
  it('starts muted and inline, and is live with the first picture', async () => {
    expect([bench.video.muted, bench.video.hasAttribute('playsinline')]).toEqual([true, true])
    await bench.live()
    await bench.run(1000)
    expect(bench.states).toEqual(['connecting', 'live'])
    expect(bench.last?.latency).toEqual({ seconds: 0.7, from: 'edge' })
  })

  it('says stalled when the picture stops, and live when it moves again', async () => {
    await bench.live()
    await bench.run(1000)
    await bench.run(3000, false)
    await bench.run(1000)
    expect(bench.states).toEqual(['connecting', 'live', 'stalled', 'live'])
    expect(bench.tiers).toHaveLength(1)
  })

  it('keeps the last picture and starts again when it stays dark', async () => {
    await bench.live()
    await bench.run(1000)
    await bench.run(9500, false)
    expect(bench.states).toEqual(['connecting', 'live', 'stalled', 'reconnecting'])
    expect([bench.released, bench.tiers[0]?.state, bench.tiers.length]).toEqual([1, 'closed', 2])
  })

  it('waits longer after every failure', async () => {
    bench.player.start()
    await vi.advanceTimersByTimeAsync(0)
    const failedAt: number[] = []
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      bench.tier.fail({ kind: 'network', message: 'gone' })
      const before = Date.now()
      while (bench.tiers.length === attempt) await vi.advanceTimersByTimeAsync(50)
      failedAt.push(Date.now() - before)
    }
    expect(failedAt).toEqual([500, 1000, 2000, 4000])
    expect(bench.last?.attempt).toBe(4)
  })

  it('tries at once when told to', async () => {
    bench.player.start()
    await vi.advanceTimersByTimeAsync(0)
    bench.tier.fail({ kind: 'refused', message: 'no stream', status: 404 })
    bench.player.retry()
    await vi.advanceTimersByTimeAsync(0)
    expect(bench.tiers).toHaveLength(2)
  })

  it.each<[string, Failure]>([
    ['a codec the browser lacks', { kind: 'codec', message: 'hvc1' }],
    ['a missing right', { kind: 'refused', message: 'no', status: 403 }],
  ])('gives up on %s, and says why', async (_name, failure) => {
    bench.player.start()
    await vi.advanceTimersByTimeAsync(0)
    bench.tier.fail(failure)
    await bench.run(30_000, false)
    expect([bench.last?.state, bench.last?.reason, bench.tiers.length]).toEqual(['failed', failure, 1])
  })

  it('gives an attempt without a first picture fifteen seconds', async () => {
    bench.player.start()
    await bench.run(14_000, false)
    expect(bench.tiers).toHaveLength(1)
    await bench.run(3_000, false)
    expect(bench.tiers).toHaveLength(2)
  })

  it('stops loading while paused and goes to the newest picture afterwards', async () => {
    await bench.live()
    bench.player.pause()
    await bench.run(20_000, false)
    expect([bench.last?.state, bench.tier.held, bench.tiers.length]).toEqual(['paused', 1, 1])
    bench.player.resume()
    expect([bench.player.snapshot.state, bench.tier.live]).toEqual(['live', 1])
  })

  it('asks for a click when the browser refuses to play', async () => {
    bench.video.play = () => Promise.reject(new DOMException('no', 'NotAllowedError'))
    bench.player.start()
    await vi.advanceTimersByTimeAsync(0)
    bench.video.dispatchEvent(new Event('loadeddata'))
    await vi.advanceTimersByTimeAsync(0)
    expect(bench.last?.state).toBe('blocked')
    bench.video.play = () => Promise.resolve()
    bench.player.resume()
    bench.video.dispatchEvent(new Event('playing'))
    expect(bench.player.snapshot.state).toBe('live')
  })

  it('sleeps in a hidden tab and wakes with it', async () => {
    await bench.live()
    hide(true)
    await bench.run(11_000, false)
    expect([bench.last?.state, bench.tiers[0]?.state]).toEqual(['idle', 'closed'])
    hide(false)
    await vi.advanceTimersByTimeAsync(0)
    expect([bench.last?.state, bench.tiers.length]).toEqual(['connecting', 2])
  })

  it('plays on in a hidden tab for somebody who listens', async () => {
    await bench.live()
    bench.player.setMuted(false)
    hide(true)
    await bench.run(60_000, false)
    expect([bench.last?.state, bench.tiers.length]).toEqual(['live', 1])
  })

  it('jumps to the newest picture when a tab comes back soon', async () => {
    await bench.live()
    hide(true)
    await bench.run(5_000, false)
    hide(false)
    expect([bench.tier.live, bench.tiers.length]).toEqual([1, 1])
  })

  it('falls back at once when WebRTC shows nothing within three seconds of its answer, and says why', async () => {
    bench.best = 'webrtc'
    bench.player.start()
    await bench.run(5_000, false)
    expect(bench.tiers).toHaveLength(1)
    bench.tier.answeredAt = performance.now()
    await bench.run(4_000, false)
    bench.video.dispatchEvent(new Event('playing'))
    await bench.run(1_000)
    expect([bench.tiers[0]?.state, bench.tier.name, bench.tiers.length]).toEqual(['closed', 'll-hls', 2])
    expect(bench.last?.fellBack).toEqual({ kind: 'media', message: 'no first picture' })
    expect(bench.states).toEqual(['connecting', 'live'])
  })

  it('waits for a camera that is slow to start before it blames WebRTC', async () => {
    bench.best = 'webrtc'
    bench.player.start()
    await bench.run(14_000, false)
    expect(bench.tiers).toHaveLength(1)
    await bench.run(2_000, false)
    expect(bench.tier.name).toBe('ll-hls')
  })

  it.each<[string, Failure, TierName]>([
    ['a lasting reason', { kind: 'codec', message: 'B-frames' }, 'll-hls'],
    ['a closed door', { kind: 'refused', message: 'off', status: 404 }, 'll-hls'],
    ['a reason that may pass', { kind: 'network', message: 'gone' }, 'webrtc'],
  ])('after %s the next attempt is with the right tier', async (_name, failure, next) => {
    bench.best = 'webrtc'
    bench.player.start()
    await vi.advanceTimersByTimeAsync(0)
    bench.tier.fail(failure)
    await vi.advanceTimersByTimeAsync(0)
    expect(bench.tier.name).toBe('ll-hls')
    bench.tier.fail({ kind: 'network', message: 'gone' })
    await bench.run(1_000, false)
    expect([bench.tiers.length, bench.tier.name]).toEqual([3, next])
  })

  it('starts WebRTC again when it had shown pictures, and when it is asked to', async () => {
    bench.best = 'webrtc'
    await bench.live()
    bench.tier.fail({ kind: 'network', message: 'broke' })
    await bench.run(1_000, false)
    expect([bench.tiers.length, bench.tier.name, bench.last?.fellBack]).toEqual([2, 'webrtc', null])
    bench.tier.fail({ kind: 'refused', message: 'off', status: 404 })
    await vi.advanceTimersByTimeAsync(0)
    expect(bench.tier.name).toBe('ll-hls')
    bench.player.retryBest()
    await vi.advanceTimersByTimeAsync(0)
    expect([bench.tier.name, bench.last?.fellBack]).toEqual(['webrtc', null])
  })

  it('does not try another way past a missing right', async () => {
    bench.best = 'webrtc'
    bench.player.start()
    await vi.advanceTimersByTimeAsync(0)
    bench.tier.fail({ kind: 'refused', message: 'no', status: 401 })
    await bench.run(5_000, false)
    expect([bench.last?.state, bench.tiers.length]).toEqual(['failed', 1])
  })

  it('leaves no timer behind', async () => {
    await bench.live()
    bench.tier.fail({ kind: 'network', message: 'gone' })
    bench.player.close()
    expect(vi.getTimerCount()).toBe(0)
  })
})
