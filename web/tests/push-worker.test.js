// The worker of notifications, run as a browser does: a script with its own `self`.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

describe('the worker of notifications', () => {
  function worker() {
    const handlers = {}
    const shown = []
    const opened = []
    const self = {
      location: { href: 'http://box/cams/assets/push-worker.js' },
      addEventListener: (name, handler) => {
        handlers[name] = handler
      },
      skipWaiting: () => undefined,
      registration: { showNotification: async (title, options) => shown.push([title, options]) },
      clients: { matchAll: async () => [], openWindow: async (url) => opened.push(url) },
    }
    new Function('self', readFileSync('public/assets/push-worker.js', 'utf8'))(self)
    const fire = async (name, event) => {
      let waited = Promise.resolve()
      handlers[name]?.({ ...event, waitUntil: (promise) => (waited = promise) })
      await waited
    }
    return { fire, shown, opened }
  }

  it('shows what was said, and what is not understood as well', async () => {
    const { fire, shown } = worker()
    const said = { title: 'Too warm', body: '36 °C', tag: 'ab', severity: 'critical', alarm: true, time: '2026-11-20T10:15:00.000Z', url: 'gate/' }
    await fire('push', { data: { json: () => said, text: () => '' } })
    expect(shown[0]).toEqual([
      'Too warm',
      expect.objectContaining({ body: '36 °C', tag: 'ab', renotify: true, requireInteraction: true, data: { url: 'gate/' } }),
    ])
    await fire('push', { data: { json: () => ({ ...said, alarm: false }), text: () => '' } })
    expect(shown[1]?.[1]).toMatchObject({ tag: 'ab', silent: true, renotify: false })
    const json = () => {
      throw new SyntaxError('no JSON')
    }
    await fire('push', { data: { json, text: () => 'words' } })
    expect(shown[2]).toEqual(['Campanile', expect.objectContaining({ body: 'words' })])
    await fire('push', { data: null })
    expect(shown[3]?.[0]).toBe('Campanile')
  })

  it('opens the camera, and nothing of another server', async () => {
    const { fire, opened } = worker()
    for (const url of ['site/gate/', 'https://elsewhere.example/', '../../other', undefined]) {
      await fire('notificationclick', { notification: { close: () => undefined, data: { url } } })
    }
    expect(opened).toEqual(['http://box/cams/site/gate/', 'http://box/cams/', 'http://box/cams/', 'http://box/cams/'])
  })
})
