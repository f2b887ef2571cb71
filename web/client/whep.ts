// WHEP: offer out, answer in, and one session to end again (draft-ietf-wish-whep-03, RFC 9725, RFC 8840).
//
// Knows no `<video>`: it hands out a stream. Works with any WHEP server; candidates are trickled only to one that needs
// them (ours is `ice-lite` and learns addresses from checks).

export interface WhepFailure {
  kind: 'network' | 'refused' | 'media' | 'codec'
  message: string
  status?: number
}

export interface WhepEvents {
  onStream(stream: MediaStream): void
  /** The connection is there, for the first time or again. */
  onConnected(): void
  /** It is over; `close` has been called. */
  onFailed(failure: WhepFailure): void
}

export interface WhepOptions {
  url: string
  /** A bearer token, where no cookie says who asks. */
  token?: string
  events: WhepEvents
}

const FRAGMENT = 'application/trickle-ice-sdpfrag'
const TRICKLE_MS = 50
/** The longest wait the server may ask for, and the one taken when it says nothing. */
const MOST_WAIT_S = 30
const WAIT_S = 2
/** A connection that stays broken for so long is built anew from the inside. */
const DISCONNECTED_MS = 3_000

export class Whep {
  readonly #options: WhepOptions
  #stream: MediaStream | null = null
  #pc: RTCPeerConnection | null = null
  #session: string | null = null
  #etag = ''
  #closed = false
  #restarting = false
  #pending: RTCIceCandidate[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Tracks the server left out, and remarks on what it sends: structured fields, as they came. */
  leftOut = ''
  notice = ''
  /** When the server had something to show, as `performance.now` counts. */
  answeredAt: number | null = null

  constructor(options: WhepOptions) {
    this.#options = options
  }

  static isSupported(): boolean {
    return typeof RTCPeerConnection === 'function'
  }

  get connection(): RTCPeerConnection | null {
    return this.#pc
  }

  async start(): Promise<void> {
    try {
      await this.#open()
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.#fail(isFailure(error) ? error : { kind: 'network', message })
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.#pc?.close()
    this.#end()
  }

  async #open(): Promise<void> {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' })
    this.#pc = pc
    pc.ontrack = ({ track, receiver }) => {
      // Nothing is gained by waiting for late packets longer than it takes to ask for them again.
      if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0
      this.#stream ??= new MediaStream()
      this.#stream.addTrack(track)
      this.#options.events.onStream(this.#stream)
    }
    pc.onconnectionstatechange = () => this.#onConnection(pc)
    pc.addTransceiver('video', { direction: 'recvonly' })
    pc.addTransceiver('audio', { direction: 'recvonly' })
    const offer = stereo((await pc.createOffer()).sdp ?? '')
    const response = await this.#post(offer)
    if (!response) return
    this.#session = new URL(response.headers.get('location') ?? '', response.url || this.#options.url).href
    this.#etag = response.headers.get('etag') ?? ''
    this.leftOut = response.headers.get('campanile-left-out') ?? ''
    this.notice = response.headers.get('campanile-notice') ?? ''
    const answer = await response.text()
    this.answeredAt = performance.now()
    // Closed while the server was thinking: the session is there all the same.
    if (this.#closed) return this.#end()
    // Gathering begins with the local description: only now are the servers known.
    const iceServers = serversOf(response.headers.get('link'))
    if (iceServers.length > 0) pc.setConfiguration({ ...pc.getConfiguration(), iceServers })
    if (response.status === 201) {
      this.#trickle(pc, answer)
      await pc.setLocalDescription({ type: 'offer', sdp: offer })
      await pc.setRemoteDescription({ type: 'answer', sdp: answer })
      return
    }
    // 406 with an offer of the server's own (WHEP §4.3.2).
    await pc.setRemoteDescription({ type: 'offer', sdp: answer })
    this.#trickle(pc, answer)
    await pc.setLocalDescription(await pc.createAnswer())
    const taken = await this.#send('PATCH', 'application/sdp', pc.localDescription?.sdp ?? '')
    if (!taken.ok) throw refusal(taken.status, 'the server did not take the answer to its offer')
  }

  /** Asks until the server has something to show; null when nobody wants to know any more. */
  async #post(body: string): Promise<Response | null> {
    for (;;) {
      const headers = this.#headers({ 'content-type': 'application/sdp', accept: 'application/sdp, application/problem+json' })
      const response = await fetch(this.#options.url, { method: 'POST', headers, body, credentials: 'same-origin' })
      const isSdp = response.headers.get('content-type')?.startsWith('application/sdp') ?? false
      if (response.status === 201 || (response.status === 406 && isSdp)) return response
      const { status } = response
      if (this.#closed) return null
      if (status !== 409 && status !== 429 && status !== 503) {
        throw { ...refusal(status, await detail(response)), ...(status === 406 ? { kind: 'codec' } : {}) } as WhepFailure
      }
      const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
      await new Promise((resolve) => {
        this.#timer = setTimeout(resolve, 1000 * Math.min(MOST_WAIT_S, seconds > 0 ? seconds : WAIT_S))
      })
    }
  }

  #onConnection(pc: RTCPeerConnection): void {
    if (this.#closed) return
    clearTimeout(this.#timer)
    if (pc.connectionState === 'connected') {
      this.#restarting = false
      this.#options.events.onConnected()
    } else if (pc.connectionState === 'disconnected') {
      this.#timer = setTimeout(() => void this.#restart(pc), DISCONNECTED_MS)
    } else if (pc.connectionState === 'failed') {
      if (this.#restarting) this.#fail({ kind: 'network', message: 'the connection broke' })
      else void this.#restart(pc)
    }
  }

  /** ICE anew within the same session: another network, another address. */
  async #restart(pc: RTCPeerConnection): Promise<void> {
    if (this.#closed || this.#restarting) return
    this.#restarting = true
    try {
      const before = pc.remoteDescription?.sdp ?? ''
      await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }))
      const response = await this.#send('PATCH', FRAGMENT, fragment(pc.localDescription?.sdp ?? '', []), '*')
      if (response.status !== 200) throw refusal(response.status, 'the session is gone')
      this.#etag = response.headers.get('etag') ?? this.#etag
      await pc.setRemoteDescription({ type: 'answer', sdp: restarted(before, await response.text()) })
    } catch (error) {
      this.#fail(isFailure(error) ? error : { kind: 'network', message: String(error) })
    }
  }

  #trickle(pc: RTCPeerConnection, answer: string): void {
    if (/^a=ice-lite\r?$/m.test(answer)) return
    let timer: ReturnType<typeof setTimeout> | undefined
    pc.onicecandidate = ({ candidate }) => {
      if (candidate) this.#pending.push(candidate)
      timer ??= setTimeout(() => {
        timer = undefined
        const candidates = this.#pending.splice(0)
        if (this.#closed || candidates.length === 0) return
        const sent = this.#send('PATCH', FRAGMENT, fragment(pc.localDescription?.sdp ?? '', candidates), this.#etag)
        // A server that does not trickle says so once.
        sent.then(({ ok }) => ok || (pc.onicecandidate = null)).catch(() => undefined)
      }, TRICKLE_MS)
    }
  }

  #send(method: string, type: string, body: string, match?: string): Promise<Response> {
    const headers = this.#headers({ 'content-type': type, ...(match ? { 'if-match': match } : {}) })
    return fetch(this.#session ?? '', { method, headers, body, credentials: 'same-origin' })
  }

  /** Also while the page goes away. */
  #end(): void {
    const session = this.#session
    this.#session = null
    if (!session) return
    fetch(session, { method: 'DELETE', keepalive: true, credentials: 'same-origin', headers: this.#headers({}) }).catch(() => undefined)
  }

  #headers(headers: Record<string, string>): Record<string, string> {
    const { token } = this.#options
    return token ? { ...headers, authorization: `Bearer ${token}` } : headers
  }

  #fail(failure: WhepFailure): void {
    if (this.#closed) return
    this.close()
    this.#options.events.onFailed(failure)
  }
}

/** Two channels are played as one unless the viewer asks for them. */
export function stereo(sdp: string): string {
  return sdp.replace(/^(a=fmtp:\d+ (?:.*;)?useinbandfec=1)(?!.*stereo=1)/gm, '$1;stereo=1')
}

/** `Link: <turn:…>; rel="ice-server"; username="…"; credential="…"` (RFC 9725 §4.6). */
export function serversOf(link: string | null): RTCIceServer[] {
  const servers: RTCIceServer[] = []
  for (const [, url, rest] of (link ?? '').matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+=(?:"(?:[^"\\]|\\.)*"|[^\s;,"]+))*)/g)) {
    const parameter = (name: string) => {
      const found = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s;,"]+))`, 'i').exec(rest ?? '')
      return found?.[1]?.replace(/\\(.)/g, '$1') ?? found?.[2]
    }
    if (!url || !/^(stun|turn)s?:/.test(url) || parameter('rel') !== 'ice-server') continue
    const [username, credential] = [parameter('username'), parameter('credential')]
    servers.push({ urls: url, ...(username !== undefined && credential !== undefined ? { username, credential } : {}) })
  }
  return servers
}

/** RFC 8840 §9: credentials, the first section for the `mid`, candidates. */
export function fragment(local: string, candidates: RTCIceCandidate[]): string {
  const line = (pattern: RegExp) => pattern.exec(local)?.[0]
  const mid = line(/^a=mid:.*$/m)?.trim() ?? 'a=mid:0'
  const kept = candidates.filter(({ sdpMLineIndex }) => (sdpMLineIndex ?? 0) === 0)
  const lines = [
    line(/^a=group:BUNDLE.*$/m)?.trim(),
    line(/^a=ice-ufrag:.*$/m)?.trim(),
    line(/^a=ice-pwd:.*$/m)?.trim(),
    line(/^m=.*$/m)?.trim(),
    mid,
    ...kept.map(({ candidate }) => `a=${candidate}`),
  ]
  return lines.filter((one) => one !== undefined).join('\r\n') + '\r\n'
}

/** The answer we had, with the server's new credentials and candidates in it. */
export function restarted(answer: string, sdpfrag: string): string {
  const value = (name: string) => new RegExp(`^a=${name}:(.*)$`, 'm').exec(sdpfrag)?.[1]?.trim()
  const [ufrag, pwd] = [value('ice-ufrag'), value('ice-pwd')]
  if (!ufrag || !pwd) throw { kind: 'network', message: 'the server did not begin anew' } satisfies WhepFailure
  const candidates = sdpfrag.split(/\r?\n/).filter((line) => /^a=(candidate:|end-of-candidates)/.test(line))
  let placed = false
  const lines = answer.split(/\r?\n/).flatMap((line) => {
    if (/^a=(candidate:|end-of-candidates)/.test(line)) {
      if (placed) return []
      placed = true
      return candidates
    }
    return line.startsWith('a=ice-ufrag:') ? [`a=ice-ufrag:${ufrag}`] : line.startsWith('a=ice-pwd:') ? [`a=ice-pwd:${pwd}`] : [line]
  })
  return lines.join('\r\n')
}

function refusal(status: number, message: string): WhepFailure {
  return { kind: 'refused', message, status }
}

async function detail(response: Response): Promise<string> {
  try {
    const { detail } = (await response.json()) as { detail?: unknown }
    return typeof detail === 'string' ? detail : `the server answered ${response.status}`
  } catch {
    return `the server answered ${response.status}`
  }
}

function isFailure(error: unknown): error is WhepFailure {
  return typeof error === 'object' && error !== null && !(error instanceof Error) && 'kind' in error
}
