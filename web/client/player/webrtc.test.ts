import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Failure, TierState } from './tier'
import { read, WebRtcTier } from './webrtc'

const stats = (video: Record<string, number>, pair: Record<string, unknown> = {}) =>
  new Map<string, unknown>([
    ['v', { type: 'inbound-rtp', kind: 'video', ...video }],
    ['a', { type: 'inbound-rtp', kind: 'audio', bytesReceived: 1 }],
    ['p', { type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.02, ...pair }],
  ])

describe('read', () => {
  it('makes the newest figures of what the browser counts', () => {
    const first = read(stats({ bytesReceived: 1000, jitterBufferDelay: 10, jitterBufferEmittedCount: 100 }), 1000, null)!
    expect(first.edge).toBeCloseTo(0.11)
    expect([first.bandwidth, first.age]).toEqual([null, null])
    const wall = 1_700_000_000_000
    const next = stats({
      bytesReceived: 126_000,
      jitterBufferDelay: 10.5,
      jitterBufferEmittedCount: 125,
      estimatedPlayoutTimestamp: wall - 80 + 2_208_988_800_000,
      timestamp: wall,
    })
    const second = read(next, 2000, first)!
    expect(second.edge).toBeCloseTo(0.03)
    expect([second.bandwidth, second.age]).toEqual([1_000_000, 80])
  })

  it('says nothing before there is a picture', () => {
    expect(read(new Map<string, unknown>(), 0, null)).toBeNull()
  })
})

class FakePeer {
  static last: FakePeer
  connectionState = 'new'
  onconnectionstatechange: (() => void) | null = null
  ontrack: ((event: unknown) => void) | null = null
  constructor() {
    FakePeer.last = this
  }
  addTransceiver() {}
  async createOffer() {
    return { type: 'offer', sdp: 'v=0\r\n' }
  }
  async setLocalDescription() {}
  async setRemoteDescription() {}
  async getStats() {
    return stats({ bytesReceived: 1, jitterBufferDelay: 1, jitterBufferEmittedCount: 10 })
  }
  close() {}
}

class FakeStream {
  tracks: unknown[] = []
  addTrack(track: unknown) {
    this.tracks.push(track)
  }
  getAudioTracks() {
    return []
  }
}

let notice = ''
let states: [TierState, Failure | null][] = []

beforeEach(() => {
  notice = ''
  states = []
  vi.stubGlobal('RTCPeerConnection', FakePeer)
  vi.stubGlobal('MediaStream', FakeStream)
  vi.stubGlobal('fetch', async (_url: string, { method }: RequestInit) => {
    const headers = { location: 'whep/1', 'content-type': 'application/sdp', 'campanile-notice': notice }
    return method === 'POST' ? new Response('v=0\r\na=ice-lite\r\n', { status: 201, headers }) : new Response(null, { status: 200 })
  })
})

afterEach(() => vi.unstubAllGlobals())

async function connected() {
  const video = { srcObject: null as unknown } as HTMLVideoElement
  const tier = new WebRtcTier(video, 'http://box/demo/whep', {
    onState: (state, failure) => states.push([state, failure]),
    onQualities: () => undefined,
  })
  await tier.start()
  const receiver = { jitterBufferTarget: null }
  FakePeer.last.ontrack?.({ track: 'picture', receiver })
  FakePeer.last.connectionState = 'connected'
  FakePeer.last.onconnectionstatechange?.()
  return { video, tier, receiver }
}

describe('WebRtcTier', () => {
  it('plays the stream without a buffer, and lets go of it', async () => {
    const { video, tier, receiver } = await connected()
    expect((video.srcObject as unknown as FakeStream).tracks).toEqual(['picture'])
    expect([receiver.jitterBufferTarget, tier.answeredAt !== null]).toEqual([0, true])
    expect(states).toEqual([
      ['loading', null],
      ['playing', null],
    ])
    tier.readout()
    await vi.waitFor(() => expect(tier.readout().edge).toBeCloseTo(0.11))
    tier.close()
    expect(video.srcObject).toBeNull()
  })

  it('leaves pictures out of order to a player that can sort them', async () => {
    notice = 'reordered-pictures;track=0;text="B-frames"'
    await connected()
    expect(states.at(-1)?.[1]?.kind).toBe('codec')
  })
})
