// The shapes this page reads against the document the server is generated from: a field renamed there fails here.
import { describe, expect, it } from 'vitest'
import openapi from '../../docs/openapi.json'
import type { Info, PathError, PathSnapshot, PathState, PushInfo, PushSubscriber, Rendition, Track } from '../client/types'

interface Schema {
  properties?: Record<string, unknown>
  enum?: string[]
}

const document = openapi as unknown as { paths: Record<string, unknown>; components: { schemas: Record<string, Schema> } }

function fieldsOf(schema: string): string[] {
  return Object.keys(document.components.schemas[schema]?.properties ?? {})
}

// `Record<keyof T, …>`: the compiler sees to it that every field of the type is named.
const fields = {
  Path: {
    name: 0,
    title: 0,
    group: 0,
    state: 0,
    since: 0,
    error: 0,
    tracks: 0,
    renditions: 0,
    readers: 0,
    bit_rate_bps: 0,
    last_frame_age_ms: 0,
    packets_lost: 0,
    reconnects: 0,
  } satisfies Record<keyof PathSnapshot, 0>,
  Track: {
    id: 0,
    kind: 0,
    codec: 0,
    width: 0,
    height: 0,
    fps: 0,
    sample_rate_hz: 0,
    channels: 0,
    bit_rate_bps: 0,
    gop_ms: 0,
    left_out: 0,
  } satisfies Record<keyof Track, 0>,
  Rendition: { rendition: 0, state: 0, tracks: 0 } satisfies Record<keyof Rendition, 0>,
  Trouble: { code: 0, message: 0, hint: 0 } satisfies Record<keyof PathError, 0>,
  Info: { version: 0, doors: 0, warnings: 0 } satisfies Record<keyof Info, 0>,
  PushInfo: { public_key: 0 } satisfies Record<keyof PushInfo, 0>,
  PushSubscriber: { id: 0 } satisfies Record<keyof PushSubscriber, 0>,
  OpenDoor: { name: 0, urls: 0 },
  Warning: { code: 0, message: 0 },
  Problem: { code: 0, detail: 0, hint: 0 },
}

describe('the API document', () => {
  it.each(Object.entries(fields))('has every field this page reads of %s', (schema, read) => {
    expect(fieldsOf(schema)).toEqual(expect.arrayContaining(Object.keys(read)))
  })

  it('has the states this page knows, and no other', () => {
    const known = { idle: 0, waiting: 0, ready: 0, stalled: 0, lost: 0 } satisfies Record<PathState, 0>
    expect(document.components.schemas['PathState']?.enum).toEqual(Object.keys(known))
  })

  it('has the resources this page asks for', () => {
    expect(Object.keys(document.paths)).toEqual(expect.arrayContaining(['/api/v1/info', '/api/v1/paths', '/api/v1/paths/{path}']))
  })
})
