import { describe, expect, it } from 'vitest'
import { pathOf, rootOf, tokenOf, urlsOf } from './site'

describe('rootOf', () => {
  it('finds the root from where the script was loaded, behind any prefix', () => {
    expect(rootOf('http://box:8080/assets/index-abc.js').href).toBe('http://box:8080/')
    expect(rootOf('https://home.example/cams/assets/index-abc.js?v=1').href).toBe('https://home.example/cams/')
  })
})

describe('pathOf', () => {
  const cases: [string, string, string][] = [
    ['http://box/', 'http://box/', ''],
    ['http://box/', 'http://box/demo/', 'demo'],
    ['http://box/', 'http://box/site/north-gate/?muted#x', 'site/north-gate'],
    ['http://box/cams/', 'http://box/cams/demo/', 'demo'],
    ['http://box/cams/', 'http://box/cams', ''],
    ['http://box/', 'http://box/index.html', ''],
    ['http://box/', 'http://box/embed/site/gate/?token=a.b.c', 'site/gate'],
    ['http://box/', 'http://box/a%2Db/', 'a-b'],
    ['http://box/', 'http://box/a%ZZ/', 'a%ZZ'],
  ]
  it.each(cases)('root %s, page %s is path %j', (root, page, path) => {
    expect(pathOf(new URL(root), new URL(page))).toBe(path)
  })
})

describe('tokenOf', () => {
  it('is that of a link, and stands in every URL of the path', () => {
    const token = tokenOf(new URL('http://box/demo/?token=a.b.c'))
    expect(token).toBe('a.b.c')
    expect(tokenOf(new URL('http://box/demo/'))).toBeNull()
    expect(urlsOf(new URL('http://box/'), 'demo', null, token)).toEqual({
      page: 'http://box/demo/?token=a.b.c',
      hls: 'http://box/demo/index.m3u8?token=a.b.c',
      whep: 'http://box/demo/whep?token=a.b.c',
      rtsp: 'rtsp://box:8554/demo?token=a.b.c',
    })
  })
})

describe('urlsOf', () => {
  it('uses the host the reader came by and the port the server names', () => {
    const info = { doors: [{ name: 'hls', urls: [] }, { name: 'rtsp', urls: ['rtsp://[::1]:9554/{path}'] }] }
    expect(urlsOf(new URL('http://box.lan:8080/'), 'site/gate', info)).toEqual({
      page: 'http://box.lan:8080/site/gate/',
      hls: 'http://box.lan:8080/site/gate/index.m3u8',
      whep: null,
      rtsp: 'rtsp://box.lan:9554/site/gate',
    })
  })

  it('has no RTSP address when that door is closed', () => {
    expect(urlsOf(new URL('http://box/'), 'demo', { doors: [] }).rtsp).toBeNull()
  })

  it('has a WHEP address unless that door is closed', () => {
    const doors = [{ name: 'webrtc', urls: [] }]
    for (const info of [null, {}, { doors }]) {
      expect(urlsOf(new URL('http://box/cams/'), 'a b/c', info).whep).toBe('http://box/cams/a%20b/c/whep')
    }
  })

  it('falls back to the usual port before the server has answered', () => {
    expect(urlsOf(new URL('http://[::1]:8080/'), 'demo', null).rtsp).toBe('rtsp://[::1]:8554/demo')
  })
})
