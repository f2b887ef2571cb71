import { describe, expect, it } from 'vitest'
import { Backoff } from './backoff'
import { grade, latencyOf } from './latency'
import { labels } from './qualities'
import { Watchdog } from './watchdog'

describe('Backoff', () => {
  it('doubles up to its most, with jitter over the upper half', () => {
    const waits = (random: number) => {
      const backoff = new Backoff({ firstMs: 500, mostMs: 8000, random: () => random })
      return Array.from({ length: 6 }, () => backoff.next())
    }
    expect(waits(1)).toEqual([500, 1000, 2000, 4000, 8000, 8000])
    expect(waits(0)).toEqual([250, 500, 1000, 2000, 4000, 4000])
  })

  it('starts again after a reset and never overflows', () => {
    const backoff = new Backoff({ firstMs: 500, mostMs: 8000, random: () => 1 })
    for (let attempt = 0; attempt < 2000; attempt += 1) backoff.next()
    expect(backoff.next()).toBe(8000)
    backoff.reset()
    expect([backoff.attempts, backoff.next()]).toEqual([0, 500])
  })
})

describe('Watchdog', () => {
  it('says late, then dead, and moving as soon as a frame comes', () => {
    const dog = new Watchdog({ lateMs: 2000, deadMs: 8000 })
    dog.reset(0)
    expect(dog.observe(10, 500)).toBe('moving')
    expect(dog.observe(10, 2400)).toBe('moving')
    expect(dog.observe(10, 2500)).toBe('late')
    expect(dog.observe(11, 3000)).toBe('moving')
    expect(dog.observe(11, 11_000)).toBe('dead')
  })
})

describe('latencyOf', () => {
  const now = 1_700_000_000_000
  it.each([
    ['believes the capture time when the clocks agree', 0.7, now - 850, { seconds: 0.85, from: 'capture' }],
    ['falls back to the edge when the clock here runs late', 0.7, now + 5000, { seconds: 0.7, from: 'edge' }],
    ['falls back to the edge when the clock here runs early', 0.7, now - 60_000, { seconds: 0.7, from: 'edge' }],
    ['does without capture times', 0.7, null, { seconds: 0.7, from: 'edge' }],
    ['says nothing before it knows', 0, null, null],
    ['says nothing of what is no number', Number.NaN, now, null],
  ] as const)('%s', (_name, edge, captured, expected) => {
    expect(latencyOf(edge, captured, now)).toEqual(expected)
  })

  it('grades as the badge shows', () => {
    const grades = [0.4, 1, 2.9, 3].map((seconds) => grade({ seconds, from: 'edge' }))
    expect(grades).toEqual(['good', 'fair', 'fair', 'poor'])
  })
})

describe('labels', () => {
  it('tell levels of one height apart by their bit rate', () => {
    const levels = [
      { height: 360, bitrate: 800_000 },
      { height: 360, bitrate: 2_400_000 },
      { height: 1080, bitrate: 4_000_000 },
      { height: 0, bitrate: 64_000, name: 'sound' },
      { height: 0, bitrate: 64_000 },
    ]
    expect(labels(levels)).toEqual(['360p, 0.8 Mbit/s', '360p, 2.4 Mbit/s', '1080p', 'sound', '5'])
  })
})
