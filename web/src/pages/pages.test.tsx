import { render } from 'preact'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Api } from '../../client/api'
import { Frame } from '../components/Frame'
import { PlayerPage } from './PlayerPage'
import { StartPage } from './StartPage'

// The player has its own tests; here the browser can play nothing.
vi.mock('hls.js/light', () => ({ default: { isSupported: () => false } }))

const root = new URL('http://box/cams/')
const video = { id: 0, kind: 'video', codec: 'H.264', width: 1920, height: 1080, fps: 25 }
const demo = { name: 'demo', title: 'Demo camera', state: 'ready', tracks: [video], renditions: [], readers: { hls: 2 }, bit_rate_bps: 4e6 }
const lost = {
  name: 'site/gate',
  state: 'lost',
  since: new Date(Date.now() - 130_000).toISOString(),
  error: { code: 'refused', message: 'rtsp source 10.0.0.5:554: connection refused', hint: 'is the camera on?' },
  tracks: [],
  renditions: [],
  readers: {},
}

let answers: Record<string, () => Response | Promise<Response>>
let sent: Map<string, RequestInit>
let page: HTMLElement

function json(body: unknown, status = 200) {
  return () => new Response(JSON.stringify(body), { status })
}

async function show(name: string) {
  const api = new Api(root)
  render(
    <Frame root={root} api={api}>
      {name ? <PlayerPage api={api} root={root} name={name} /> : <StartPage api={api} root={root} />}
    </Frame>,
    page,
  )
  await vi.advanceTimersByTimeAsync(50)
}

function words() {
  return page.textContent ?? ''
}

beforeEach(() => {
  vi.useFakeTimers({ shouldAdvanceTime: true })
  answers = { info: json({ doors: [{ name: 'rtsp', urls: ['rtsp://127.0.0.1:9554/{path}'] }] }) }
  sent = new Map()
  vi.stubGlobal('fetch', async (url: URL, request: RequestInit) => {
    const name = url.pathname.replace('/cams/api/v1/', '')
    sent.set(name, request)
    const answer = answers[name]
    return answer ? answer() : new Response('{"code":"path_not_found","detail":"not configured"}', { status: 404 })
  })
  page = document.createElement('div')
  document.body.append(page)
})

afterEach(() => {
  render(null, page)
  page.remove()
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

describe('the start page', () => {
  it('lists every camera with its state in words and a link that keeps the prefix', async () => {
    answers['paths'] = json({ items: [demo, lost] })
    await show('')
    const links = [...page.querySelectorAll<HTMLAnchorElement>('.card')].map((link) => link.getAttribute('href'))
    expect(links).toEqual(['/cams/demo/', '/cams/site/gate/'])
    expect(words()).toContain('1 live · 1 offline')
    expect(words()).toMatch(/Demo camera\s*Live.*H\.264 1920×1080, 25 fps.*4\.0 Mbit\/s.*2 \(2 HLS\)/)
    expect(words()).toMatch(/connection refused.*is the camera on\?.*\(2 min\)/)
  })

  it('shows how to add the first camera', async () => {
    answers['paths'] = json({ items: [] })
    await show('')
    expect(words()).toContain('No camera yet')
    expect(page.querySelector('pre')?.textContent).toContain('source: rtsp://')
  })

  it('keeps the last list while the server is away, and says that it is away', async () => {
    answers['paths'] = json({ items: [demo] })
    await show('')
    answers['paths'] = () => Promise.reject(new TypeError('Failed to fetch'))
    await vi.advanceTimersByTimeAsync(2_500)
    expect(words()).toContain('The server does not answer')
    expect(page.querySelectorAll('.cards-stale .card')).toHaveLength(1)
    answers['paths'] = json({ items: [demo, lost] })
    await vi.advanceTimersByTimeAsync(10_000)
    expect(words()).not.toContain('The server does not answer')
    expect(page.querySelectorAll('.card')).toHaveLength(2)
  })

  it('says why when the caller may not look', async () => {
    answers['paths'] = json({ code: 'unauthenticated', detail: 'log in first', hint: 'see the first start' }, 401)
    await show('')
    expect(words()).toMatch(/You may not see this.*log in first.*see the first start/)
  })

  it('lets a caller log in and says when that fails', async () => {
    answers['paths'] = json({ code: 'unauthenticated', detail: 'log in first' }, 401)
    answers['auth/login'] = json({ code: 'invalid_credential', detail: 'the password is another one' }, 401)
    await show('')
    const form = page.querySelector<HTMLFormElement>('form.login')!
    form.querySelector<HTMLInputElement>('[name=name]')!.value = 'anna'
    form.querySelector<HTMLInputElement>('[name=password]')!.value = 'wrong'
    form.dispatchEvent(new Event('submit', { bubbles: true, cancelable: true }))
    await vi.advanceTimersByTimeAsync(100)
    expect(form.querySelector('[role=alert]')?.textContent).toBe('the password is another one')
  })

  it('offers a login to whoever may look without one, and not where auth is off', async () => {
    answers['paths'] = json({ items: [demo] })
    answers['auth/whoami'] = json({ user: null, kind: 'local', csrf_token: null })
    await show('')
    expect(page.querySelector('details.account form.login')).not.toBeNull()
    render(null, page)
    answers['info'] = json({ warnings: [{ code: 'auth_off', message: 'auth is off' }] })
    await show('')
    expect(page.querySelector('.account')).toBeNull()
  })

  it('says who is logged in, and lets them out with the word that a change needs', async () => {
    answers['paths'] = json({ items: [demo] })
    answers['auth/whoami'] = json({ user: 'anna', kind: 'user', csrf_token: 'word' })
    answers['auth/logout'] = json({ code: 'unavailable', detail: 'not now' }, 503)
    await show('')
    expect(page.querySelector('.account-name')?.textContent).toBe('anna')
    page.querySelector<HTMLButtonElement>('.account button')!.click()
    await vi.advanceTimersByTimeAsync(100)
    expect(page.querySelector('.account [role=alert]')?.textContent).toBe('not now')
    expect(sent.get('auth/logout')).toMatchObject({ method: 'POST', headers: { 'x-csrf-token': 'word' } })
  })

  it('leaves who logged in by the browser’s own question without a way out that would not work', async () => {
    answers['paths'] = json({ items: [demo] })
    answers['auth/whoami'] = json({ user: 'anna', kind: 'user', csrf_token: null })
    await show('')
    expect(page.querySelector('.account')?.textContent).toBe('anna')
  })

  it('passes on what the server warns of', async () => {
    answers['info'] = json({ warnings: [{ code: 'auth_off', message: 'http listens on all addresses' }] })
    answers['paths'] = json({ items: [demo] })
    await show('')
    expect(words()).toContain('http listens on all addresses')
  })
})

describe('the player page', () => {
  it('knows the smaller rendition as the same camera with addresses of its own', async () => {
    answers['paths/demo'] = json(demo)
    await show('demo/sub')
    const values = [...page.querySelectorAll('input')].map((input) => input.value)
    expect(values.slice(0, 2)).toEqual(['rtsp://box:9554/demo/sub', 'http://box/cams/demo/sub/index.m3u8'])
    expect(page.querySelector('h1')?.textContent).toBe('Demo camera (smaller picture)')
    expect(words()).not.toContain('There is no camera')
  })

  it('offers the addresses as this network knows them', async () => {
    answers['paths/demo'] = json(demo)
    await show('demo')
    const values = [...page.querySelectorAll('input')].map((input) => input.value)
    expect(values.slice(0, 2)).toEqual(['rtsp://box:9554/demo', 'http://box/cams/demo/index.m3u8'])
    expect(page.querySelector('h1')?.textContent).toBe('Demo camera')
  })

  it('says why the camera is dark', async () => {
    answers['paths/site/gate'] = json(lost)
    await show('site/gate')
    expect(page.querySelector('.cover')?.textContent).toMatch(/Offline since .*\(2 min\).*connection refused.*is the camera on\?/)
  })

  it('says that a camera is unknown and leads back', async () => {
    await show('nowhere')
    expect(words()).toContain('There is no camera called “nowhere”')
    expect(page.querySelector('.notice a')?.getAttribute('href')).toBe('/cams/')
    expect(page.querySelector('video')).toBeNull()
  })

  it('names every control and labels every field', async () => {
    answers['paths/demo'] = json(demo)
    await show('demo')
    const nameless = [...page.querySelectorAll('button, a')].filter((one) => !one.getAttribute('aria-label') && !one.textContent?.trim())
    const unlabelled = [...page.querySelectorAll('input')].filter((input) => !page.querySelector(`label[for="${input.id}"]`))
    expect([nameless, unlabelled]).toEqual([[], []])
  })

  it('shows the figures of the player at the key i, and not while somebody types', async () => {
    answers['paths/demo'] = json(demo)
    await show('demo')
    page.querySelector('input')?.dispatchEvent(new KeyboardEvent('keydown', { key: 'i', bubbles: true }))
    await vi.advanceTimersByTimeAsync(50)
    expect(page.querySelector('.figures')).toBeNull()
    window.dispatchEvent(new KeyboardEvent('keydown', { key: 'i' }))
    await vi.advanceTimersByTimeAsync(50)
    expect(page.querySelector('.figures')).not.toBeNull()
  })
})
