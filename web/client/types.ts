// The shapes of `/api/v1` this page reads. Field names are the server's; anything it may leave out is optional here.

export type PathState = 'idle' | 'waiting' | 'ready' | 'stalled' | 'lost'

export interface PathError {
  code: string
  message: string
  hint?: string | null
}

export interface Track {
  id: number
  kind: 'video' | 'audio' | 'application' | (string & {})
  /** The name people know: `H.264`. */
  codec: string
  width?: number | null
  height?: number | null
  fps?: number | null
  sample_rate_hz?: number | null
  channels?: number | null
  bit_rate_bps?: number | null
  gop_ms?: number | null
  /** Door → why it cannot carry this track. */
  left_out?: Record<string, string>
}

export interface Rendition {
  rendition: 'main' | 'sub'
  state: PathState
  tracks: Track[]
}

export interface PathSnapshot {
  name: string
  title?: string | null
  group?: string | null
  state: PathState
  since?: string | null
  error?: PathError | null
  tracks: Track[]
  renditions: Rendition[]
  readers?: Record<string, number>
  bit_rate_bps?: number | null
  last_frame_age_ms?: number | null
  packets_lost?: number | null
  reconnects?: number | null
}

export interface Info {
  version?: string
  /** The open doors; `{path}` in a URL stands for a path's name. */
  doors?: { name: string; urls: string[] }[]
  warnings?: { code: string; message: string }[]
}

export interface WhoAmI {
  /** Null for whoever is known by the machine they sit at alone. */
  user: string | null
  /** What a change needs beside the cookie; null for a caller without one. */
  csrf_token: string | null
}

export interface PushInfo {
  /** Null when the server sends no notifications. */
  public_key?: string | null
}

export interface PushSubscriber {
  id: string
}

const STATES: readonly string[] = ['idle', 'waiting', 'ready', 'stalled', 'lost']

/** What the server sent, if it is a path at all; an unknown state of a newer server counts as waiting. */
export function decodePath(value: unknown): PathSnapshot | null {
  if (typeof value !== 'object' || value === null) return null
  const path = value as Partial<PathSnapshot>
  if (typeof path.name !== 'string') return null
  return {
    ...path,
    name: path.name,
    state: knownState(path.state),
    tracks: listOf(path.tracks),
    renditions: listOf(path.renditions).map((one) => ({ ...one, state: knownState(one.state), tracks: listOf(one.tracks) })),
  }
}

export function decodePaths(value: unknown): PathSnapshot[] | null {
  const items = (value as { items?: unknown } | null)?.items
  if (!Array.isArray(items)) return null
  return items.map(decodePath).filter((path) => path !== null)
}

function knownState(state: PathState | undefined): PathState {
  return state !== undefined && STATES.includes(state) ? state : 'waiting'
}

function listOf<T>(value: T[] | undefined): T[] {
  return Array.isArray(value) ? value : []
}
