import { describe, expect, it } from 'vitest'
import { bitRate, duration, readers, seconds, since, track } from './format'

describe('format', () => {
  it.each([
    [96_000, '96 kbit/s'],
    [4_108_000, '4.1 Mbit/s'],
    [25_000_000, '25 Mbit/s'],
  ])('%i bit/s is %s', (bps, words) => expect(bitRate(bps)).toBe(words))

  it.each([
    [-5, '0 s'],
    [59_400, '59 s'],
    [134_000, '2 min'],
    [3_700_000, '1 h 1 min'],
    [3 * 86_400_000, '3 days'],
  ])('%i ms is %s', (ms, words) => expect(duration(ms)).toBe(words))

  it('shows tenths only where they matter', () => {
    expect([seconds(0.71), seconds(75)]).toEqual(['0.7 s', '1 min'])
    expect([seconds(0.0431), seconds(-0.2)]).toEqual(['43 ms', '0 ms'])
  })

  it('says since when and for how long, and nothing of a bad time', () => {
    const now = new Date('2026-11-20T10:15:00Z')
    expect(since('2026-11-20T10:13:00Z', now)).toMatch(/\(2 min\)$/)
    expect([since(null, now), since('yesterday', now)]).toEqual([null, null])
  })

  it('describes tracks by what is known of them', () => {
    expect(track({ id: 0, kind: 'video', codec: 'H.265', width: 1920, height: 1080, fps: 24.99 })).toBe('H.265 1920×1080, 25 fps')
    expect(track({ id: 1, kind: 'audio', codec: 'G.711 A-law', sample_rate_hz: 8000, channels: 1 })).toBe('G.711 A-law, 8 kHz, mono')
    expect(track({ id: 2, kind: 'application', codec: 'vnd.onvif.metadata' })).toBe('vnd.onvif.metadata')
  })

  it('counts readers by door', () => {
    expect([readers({ rtsp: 1, hls: 2, webrtc: 0 }), readers({ rtsp: 0 }), readers(undefined)]).toEqual(['3 (1 RTSP, 2 HLS)', null, null])
  })
})
