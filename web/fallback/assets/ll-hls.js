// A small Low-Latency HLS player for one muxed fMP4 rendition: blocking reloads, parts in order, newest picture first.
// RFC 8216bis in what it needs; the full page uses hls.js.

const BEHIND_S = 4
const KEEP_S = 10

/** Plays until something fails, and then throws. */
export async function play(video, url) {
  const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource
  if (!Source) return native(video, url)
  const variant = await choose(url, Source)
  const source = new Source()
  const opened = once(source, 'sourceopen')
  video.disableRemotePlayback = true
  video.muted = true
  video.autoplay = true
  video.src = URL.createObjectURL(source)
  try {
    await opened
    await follow(video, source.addSourceBuffer(`video/mp4; codecs="${variant.codecs}"`), variant.url)
  } finally {
    URL.revokeObjectURL(video.src)
  }
}

async function native(video, url) {
  video.src = url.href
  await video.play()
  await once(video, 'error')
  throw new Error('the browser stopped')
}

async function choose(url, Source) {
  const lines = (await text(url)).split('\n')
  const variants = lines.flatMap((line, index) => {
    const codecs = /^#EXT-X-STREAM-INF:.*CODECS="([^"]+)"/.exec(line)?.[1]
    return codecs ? [{ codecs, url: new URL(lines[index + 1].trim(), url) }] : []
  })
  const fit = variants.find(({ codecs }) => Source.isTypeSupported(`video/mp4; codecs="${codecs}"`))
  if (!fit) throw new Error(`this browser cannot decode ${variants.map(({ codecs }) => codecs).join(' or ') || 'it'}`)
  return fit
}

async function follow(video, buffer, url) {
  let next = null // the first item not yet appended, as "segment, part"
  let map = null
  let asked = new URL(url)
  for (;;) {
    const list = parse(await text(asked, 30_000), url)
    if (list.items.length === 0) throw new Error('an empty playlist')
    next ??= [...list.items].reverse().find(({ independent }) => independent) ?? list.items.at(-1)
    for (const item of list.items.filter((item) => !before(item, next))) {
      if (item.map !== map) await append(buffer, await bytes(item.map))
      map = item.map
      await append(buffer, await bytes(item.url))
      next = { segment: item.segment, part: item.part === null ? Infinity : item.part + 1 }
      keepUp(video, buffer)
    }
    // Beside what stands there already: the token of a link.
    asked = new URL(url)
    if (list.blocks) {
      asked.searchParams.set('_HLS_msn', list.next.segment)
      asked.searchParams.set('_HLS_part', list.next.part)
    }
    if (list.ended) throw new Error('the stream ended')
    if (!list.blocks) await new Promise((done) => setTimeout(done, list.target * 500))
    if (buffer.buffered.length > 0 && video.currentTime > KEEP_S * 2) {
      buffer.remove(0, video.currentTime - KEEP_S)
      await once(buffer, 'updateend')
    }
  }
}

function before(item, mark) {
  if (item.segment !== mark.segment) return item.segment < mark.segment
  // A whole segment stands for all its parts: it is old news once one of them was taken.
  return item.part === null ? mark.part > 0 : item.part < mark.part
}

/** The parts where the playlist still names them, the whole segments before. */
export function parse(playlist, base) {
  const items = []
  const attribute = (line, name) => new RegExp(`[:,]${name}="?([^",]+)`).exec(line)?.[1]
  let segment = 0
  let parts = []
  let count = 0
  let gap = false
  let [map, blocks, target, ended] = [null, false, 4, false]
  for (const line of playlist.split('\n').map((line) => line.trim())) {
    if (line.startsWith('#EXT-X-MEDIA-SEQUENCE:')) segment = Number(line.slice(22))
    else if (line.startsWith('#EXT-X-TARGETDURATION:')) target = Number(line.slice(22))
    else if (line.startsWith('#EXT-X-SERVER-CONTROL:')) blocks = line.includes('CAN-BLOCK-RELOAD=YES')
    else if (line.startsWith('#EXT-X-ENDLIST')) ended = true
    else if (line === '#EXT-X-GAP') gap = true
    else if (line.startsWith('#EXT-X-MAP:')) map = new URL(attribute(line, 'URI'), base).href
    else if (line.startsWith('#EXT-X-PART:')) {
      const part = { segment, part: count++, url: new URL(attribute(line, 'URI'), base), map }
      if (!line.includes('GAP=YES')) parts.push({ ...part, independent: line.includes('INDEPENDENT=YES') })
    } else if (line && !line.startsWith('#')) {
      const whole = { segment, part: null, url: new URL(line, base), map, independent: true }
      if (!gap) items.push(...(parts.length > 0 ? parts : [whole]))
      segment += 1
      parts = []
      count = 0
      gap = false
    }
  }
  return { items: [...items, ...parts], next: { segment, part: count }, blocks, target, ended }
}

/** Jumps when far behind, hurries when near. */
function keepUp(video, buffer) {
  const { buffered } = buffer
  if (buffered.length === 0) return
  const end = buffered.end(buffered.length - 1)
  const start = buffered.start(buffered.length - 1)
  if (video.currentTime < start || end - video.currentTime > BEHIND_S) video.currentTime = Math.max(start, end - 1)
  video.playbackRate = end - video.currentTime > 1 ? 1.1 : 1
}

async function append(buffer, data) {
  buffer.appendBuffer(data)
  await once(buffer, 'updateend')
}

function once(target, type) {
  return new Promise((done) => target.addEventListener(type, done, { once: true }))
}

async function load(url, timeout) {
  const response = await fetch(url, { signal: AbortSignal.timeout?.(timeout) })
  if (!response.ok) throw new Error(`the server answered ${response.status}`)
  return response
}

async function text(url, timeout = 10_000) {
  return (await load(url, timeout)).text()
}

async function bytes(url) {
  return (await load(url, 10_000)).arrayBuffer()
}
