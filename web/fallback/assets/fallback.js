// The page without a build: the cameras with their state, or one of them playing. No framework, no dependency.
import { play } from './ll-hls.js'

const STATES = { idle: 'idle', waiting: 'connecting', ready: 'live', stalled: 'no pictures', lost: 'offline' }
const root = new URL('../', import.meta.url)
const below = location.pathname.slice(root.pathname.length).replace(/^embed\//, '')
const name = below.split('/').filter(Boolean).map(decodeURIComponent).join('/')
// Of a link: it stands in the URLs of the path's media as well.
const token = new URLSearchParams(location.search).get('token')
const encoded = name.split('/').map(encodeURIComponent).join('/')
const at = (id) => document.getElementById(id)
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

function element(tag, text, ...children) {
  const made = document.createElement(tag)
  made.textContent = text
  made.append(...children)
  return made
}

function say(text) {
  at('notice').textContent = text
  at('notice').hidden = text === ''
}

async function ask(path) {
  try {
    const response = await fetch(new URL(path, root), {
      headers: token ? { authorization: `Bearer ${token}` } : {},
      signal: AbortSignal.timeout?.(8000),
    })
    const body = await response.json().catch(() => ({}))
    if (response.ok) return body
    say(`${body.detail ?? `The server answered ${response.status}.`} ${body.hint ?? ''}`)
  } catch {
    say('The server does not answer. Trying again…')
  }
  return null
}

function trouble(path) {
  if (path.error) return `${path.error.message}${path.error.hint ? ` (${path.error.hint})` : ''}`
  return path.state === 'ready' ? '' : `Camera: ${STATES[path.state] ?? path.state}.`
}

function card(path) {
  const link = element('a', '', element('strong', path.title ?? path.name), element('span', STATES[path.state] ?? path.state))
  link.href = new URL(`${path.name.split('/').map(encodeURIComponent).join('/')}/`, root).pathname
  if (path.error) link.append(element('small', trouble(path)))
  return element('li', '', link)
}

async function list() {
  const answer = await ask('api/v1/paths')
  if (!answer) return
  const { items } = answer
  say(items.length === 0 ? 'No camera yet: name one under `paths:` in the configuration file.' : '')
  at('list').replaceChildren(...items.map(card))
  at('list').hidden = items.length === 0
}

async function watch() {
  const answer = await ask(`api/v1/paths/${encoded}`)
  if (!answer) return
  say(trouble(answer))
  at('title').textContent = answer.title ?? name
}

async function keepPlaying() {
  const url = new URL(`${encoded}/index.m3u8${token ? `?token=${token}` : ''}`, root)
  const doors = (await ask('api/v1/info'))?.doors ?? []
  const port = /:(\d+)\/[^/]*$/.exec(doors.find((door) => door.name === 'rtsp')?.urls[0] ?? '')?.[1] ?? 8554
  const urls = { RTSP: `rtsp://${root.hostname}:${port}/${encoded}`, HLS: url.href }
  at('urls').replaceChildren(...Object.entries(urls).map(([door, text]) => element('div', `${door}: `, element('code', text))))
  at('stage').hidden = false
  for (let wait = 500; ; wait = Math.min(8000, wait * 2)) {
    const began = Date.now()
    await play(at('video'), url).catch((error) => say(`Cannot play: ${error.message}. Trying again…`))
    if (Date.now() - began > 10_000) wait = 500
    await sleep(wait * (0.5 + Math.random() / 2))
  }
}

at('home').href = root.pathname
if (name) {
  document.title = `${name} · Campanile`
  at('title').textContent = name
  void keepPlaying()
}
for (;;) {
  if (!document.hidden) await (name ? watch() : list())
  await sleep(3000)
}
