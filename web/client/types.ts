// The shapes of `/api/v1` this page reads. Field names are the server's; anything it may leave out is optional here.

export type PathState = 'idle' | 'waiting' | 'ready' | 'stalled' | 'lost'

export interface PathError {
  code: string
  message: string
  hint?: string | null
}

export interface Track {
  id: number | string
  kind: 'video' | 'audio' | 'data' | (string & {})
  codec: string
  width?: number | null
  height?: number | null
  fps?: number | null
  sample_rate_hz?: number | null
  channels?: number | null
  bitrate_bps?: number | null
  gop_ms?: number | null
  left_out?: { door: string; reason: string }[] | null
}

export interface PathSnapshot {
  name: string
  title?: string | null
  group?: string | null
  state: PathState
  since?: string | null
  error?: PathError | null
  tracks?: Track[]
  renditions?: (string | { name: string })[]
  readers?: Record<string, number>
  bitrate_bps?: number | null
  last_frame_age_ms?: number | null
  reconnects?: number | null
}

export interface Info {
  version?: string
  rtsp?: { url?: string | null } | null
}

const STATES: readonly string[] = ['idle', 'waiting', 'ready', 'stalled', 'lost']

/** What the server sent, if it is a path at all; an unknown state of a newer server counts as waiting. */
export function decodePath(value: unknown): PathSnapshot | null {
  if (typeof value !== 'object' || value === null) return null
  const path = value as Partial<PathSnapshot>
  if (typeof path.name !== 'string') return null
  const state = STATES.includes(path.state ?? '') ? path.state! : 'waiting'
  return { ...path, name: path.name, state, tracks: Array.isArray(path.tracks) ? path.tracks : [] }
}

export function decodePaths(value: unknown): PathSnapshot[] | null {
  const items = (value as { items?: unknown } | null)?.items
  if (!Array.isArray(items)) return null
  return items.map(decodePath).filter((path) => path !== null)
}
