import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { fragment, restarted, serversOf, stereo, Whep, type WhepFailure } from './whep'

const OFFER = [
  'v=0',
  'a=group:BUNDLE 0 1',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'a=ice-ufrag:mine',
  'a=ice-pwd:my-password-of-some-length',
  'a=mid:0',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111',
  'a=mid:1',
  'a=fmtp:111 minptime=10;useinbandfec=1',
  '',
].join('\r\n')
const ANSWER = 'v=0\r\na=ice-lite\r\nm=video 9 X 96\r\na=ice-ufrag:one\r\na=ice-pwd:first\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=end-of-candidates\r\n'
const FULL = ANSWER.replace('a=ice-lite\r\n', '')

class FakePeer {
  static all: FakePeer[] = []
  connectionState = 'new'
  localDescription: { type: string; sdp: string } | null = null
  remoteDescription: { type: string; sdp: string } | null = null
  configuration: RTCConfiguration
  onconnectionstatechange: (() => void) | null = null
  ontrack: ((event: unknown) => void) | null = null
  onicecandidate: ((event: unknown) => void) | null = null
  kinds: string[] = []
  calls: string[] = []
  closed = false
  constructor(configuration: RTCConfiguration) {
    this.configuration = configuration
    FakePeer.all.push(this)
  }
  addTransceiver(kind: string) {
    this.kinds.push(kind)
  }
  async createOffer(options?: { iceRestart?: boolean }) {
    return { type: 'offer', sdp: options?.iceRestart ? OFFER.replace('mine', 'anew') : OFFER }
  }
  async createAnswer() {
    return { type: 'answer', sdp: 'v=0\r\nthe answer\r\n' }
  }
  async setLocalDescription(description: { type: string; sdp: string }) {
    this.calls.push(`local ${description.type}`)
    this.localDescription = description
  }
  async setRemoteDescription(description: { type: string; sdp: string }) {
    this.calls.push(`remote ${description.type}`)
    this.remoteDescription = description
  }
  getConfiguration() {
    return this.configuration
  }
  setConfiguration(configuration: RTCConfiguration) {
    this.calls.push('configuration')
    this.configuration = configuration
  }
  become(state: string) {
    this.connectionState = state
    this.onconnectionstatechange?.()
  }
  close() {
    this.closed = true
  }
}

interface Asked {
  url: string
  method: string
  headers: Record<string, string>
  body: string
  keepalive: boolean
}

let asked: Asked[] = []
let answers: Response[] = []
let failures: WhepFailure[] = []
let connected = 0

function reply(status: number, body: string | null, headers: Record<string, string>): Response {
  return new Response(body, { status, headers })
}

const created = (headers: Record<string, string> = {}, answer = ANSWER) =>
  reply(201, answer, { 'content-type': 'application/sdp', location: 'whep/f00', etag: '"one"', ...headers })

function whep(token?: string) {
  return new Whep({
    url: 'http://box/cams/demo/whep',
    ...(token ? { token } : {}),
    events: {
      onStream: () => undefined,
      onConnected: () => (connected += 1),
      onFailed: (failure) => failures.push(failure),
    },
  })
}

const peer = () => FakePeer.all.at(-1)!

beforeEach(() => {
  vi.useFakeTimers()
  FakePeer.all = []
  asked = []
  answers = []
  failures = []
  connected = 0
  vi.stubGlobal('RTCPeerConnection', FakePeer)
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    asked.push({
      url,
      method: init.method ?? 'GET',
      headers: init.headers as Record<string, string>,
      body: String(init.body ?? ''),
      keepalive: init.keepalive ?? false,
    })
    return answers.shift() ?? reply(204, null, {})
  })
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

describe('Whep', () => {
  it('offers to receive, takes the answer, and ends the session even while the page goes', async () => {
    answers = [created({ link: '<turn:t.example>; rel="ice-server"; username="u"; credential="c"; credential-type="password"' })]
    const one = whep('secret')
    await one.start()
    expect(peer().kinds).toEqual(['video', 'audio'])
    expect(asked[0]).toMatchObject({ url: 'http://box/cams/demo/whep', method: 'POST' })
    expect(asked[0]?.headers).toMatchObject({ 'content-type': 'application/sdp', authorization: 'Bearer secret' })
    expect(asked[0]?.body).toContain('useinbandfec=1;stereo=1')
    // The servers are there before gathering begins.
    expect(peer().calls).toEqual(['configuration', 'local offer', 'remote answer'])
    expect(peer().configuration.iceServers).toEqual([{ urls: 'turn:t.example', username: 'u', credential: 'c' }])
    peer().become('connected')
    expect(connected).toBe(1)
    one.close()
    one.close()
    expect(asked).toHaveLength(2)
    expect(asked[1]).toMatchObject({ url: 'http://box/cams/demo/whep/f00', method: 'DELETE', keepalive: true })
    expect(peer().closed).toBe(true)
  })

  it.each([409, 429, 503])('asks again when a %d says it is worth it', async (status) => {
    answers = [reply(status, null, { 'retry-after': '3' }), created()]
    const started = whep().start()
    await vi.advanceTimersByTimeAsync(2900)
    expect(asked).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(200)
    await started
    expect(asked).toHaveLength(2)
    expect(failures).toEqual([])
  })

  it.each([
    [406, 'codec'],
    [401, 'refused'],
    [404, 'refused'],
    [415, 'refused'],
  ])('gives up on a %d and says what the server said', async (status, kind) => {
    answers = [reply(status, '{"detail":"because"}', { 'content-type': 'application/problem+json' })]
    await whep().start()
    expect(failures).toEqual([{ kind, message: 'because', status }])
    expect(asked).toHaveLength(1)
  })

  it('answers an offer of the server’s own', async () => {
    answers = [reply(406, 'v=0\r\na=ice-lite\r\ntheirs', { 'content-type': 'application/sdp', location: '/s/1' }), reply(204, null, {})]
    await whep().start()
    expect(peer().calls).toEqual(['remote offer', 'local answer'])
    expect(asked[1]).toMatchObject({ url: 'http://box/s/1', method: 'PATCH', body: 'v=0\r\nthe answer\r\n' })
    expect(asked[1]?.headers).toMatchObject({ 'content-type': 'application/sdp' })
    expect(failures).toEqual([])
  })

  it('trickles to a server that needs it, and stops when that one does not', async () => {
    answers = [created({}, FULL), reply(405, null, {})]
    await whep().start()
    const candidate = { candidate: 'candidate:1 1 udp 1 192.0.2.9 9 typ host', sdpMLineIndex: 0 }
    peer().onicecandidate?.({ candidate })
    peer().onicecandidate?.({ candidate: { ...candidate, sdpMLineIndex: 1 } })
    await vi.advanceTimersByTimeAsync(100)
    expect(asked).toHaveLength(2)
    expect(asked[1]?.headers).toMatchObject({ 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': '"one"' })
    expect(asked[1]?.body).toBe(
      'a=group:BUNDLE 0 1\r\na=ice-ufrag:mine\r\na=ice-pwd:my-password-of-some-length\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.9 9 typ host\r\n',
    )
    expect(peer().onicecandidate).toBeNull()
  })

  it('does not trickle to a lite server', async () => {
    answers = [created()]
    await whep().start()
    expect(peer().onicecandidate).toBeNull()
  })

  it('begins ICE anew when the connection fails, within the session', async () => {
    const anew = 'a=ice-lite\r\nm=video 9 X 0\r\na=mid:0\r\na=ice-ufrag:two\r\na=ice-pwd:second\r\na=candidate:2 1 udp 1 192.0.2.2 2 typ host\r\na=end-of-candidates\r\n'
    answers = [created(), reply(200, anew, { 'content-type': 'application/trickle-ice-sdpfrag', etag: '"two"' })]
    await whep().start()
    peer().become('connected')
    peer().become('failed')
    await vi.advanceTimersByTimeAsync(0)
    expect(asked[1]?.headers).toMatchObject({ 'if-match': '*' })
    expect(asked[1]?.body).toContain('a=ice-ufrag:anew')
    expect(peer().remoteDescription?.sdp).toContain('a=ice-ufrag:two\r\na=ice-pwd:second\r\na=candidate:2 ')
    peer().become('connected')
    expect([connected, failures]).toEqual([2, []])
  })

  it('fails when a second beginning fails too, or the session is gone', async () => {
    answers = [created(), reply(404, null, {})]
    await whep().start()
    peer().become('failed')
    await vi.advanceTimersByTimeAsync(0)
    expect(failures).toEqual([{ kind: 'refused', message: 'the session is gone', status: 404 }])
  })

  it('waits a while for a connection that is only disturbed', async () => {
    answers = [created()]
    await whep().start()
    peer().become('disconnected')
    await vi.advanceTimersByTimeAsync(2000)
    peer().become('connected')
    await vi.advanceTimersByTimeAsync(5000)
    expect(asked).toHaveLength(1)
  })

  it('ends a session that was made after nobody wanted it any more', async () => {
    answers = [created()]
    const one = whep()
    const started = one.start()
    one.close()
    await started
    expect(asked.map(({ method }) => method)).toEqual(['POST', 'DELETE'])
    expect([peer().calls, failures]).toEqual([[], []])
  })
})

describe('serversOf', () => {
  it('reads what the header may say, and passes over what is no server', () => {
    const link =
      '<stun:a.example>; rel="ice-server", <https://x>; rel="next", <turn:b.example?transport=udp>; rel=ice-server; ' +
      'username="a\\"b,;c"; credential="p\\\\w"; credential-type="password"'
    expect(serversOf(link)).toEqual([{ urls: 'stun:a.example' }, { urls: 'turn:b.example?transport=udp', username: 'a"b,;c', credential: 'p\\w' }])
    expect(serversOf(null)).toEqual([])
  })
})

describe('descriptions', () => {
  it('asks for stereo once', () => {
    const line = 'a=fmtp:111 minptime=10;useinbandfec=1'
    expect(stereo(`${line}\r\na=fmtp:9 x=1`)).toBe(`${line};stereo=1\r\na=fmtp:9 x=1`)
    expect(stereo(stereo(line))).toBe(`${line};stereo=1`)
  })

  it('names the bundle without candidates too', () => {
    expect(fragment(OFFER, []).split('\r\n')).toHaveLength(6)
  })

  it('keeps the rest of the answer when ICE begins anew', () => {
    const text = restarted(`${ANSWER}m=audio 9 X 111\r\na=ice-ufrag:one\r\na=ice-pwd:first\r\n`, 'a=ice-ufrag:two\r\na=ice-pwd:second\r\na=candidate:9\r\n')
    expect(text.match(/a=ice-ufrag:two/g)).toHaveLength(2)
    expect(text.match(/a=candidate:/g)).toHaveLength(1)
    expect(() => restarted(ANSWER, 'a=mid:0\r\n')).toThrow()
  })
})
