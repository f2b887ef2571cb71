// Numbers and times as people read them.
import type { Track } from '../client/types'

export function bitRate(bps: number): string {
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(bps >= 1e7 ? 0 : 1)} Mbit/s`
  return `${Math.round(bps / 1e3)} kbit/s`
}

export function seconds(value: number): string {
  if (value < 0.1) return `${Math.max(0, Math.round(value * 1000))} ms`
  if (value < 10) return `${value.toFixed(1)} s`
  return duration(value * 1000)
}

export function duration(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000))
  if (s < 60) return `${s} s`
  const min = Math.floor(s / 60)
  if (min < 60) return `${min} min`
  const h = Math.floor(min / 60)
  return h < 48 ? `${h} h ${min % 60} min` : `${Math.floor(h / 24)} days`
}

/** `14:03` today, with the date before that. */
export function moment(iso: string, now: Date): string | null {
  const at = new Date(iso)
  if (Number.isNaN(at.getTime())) return null
  const today = at.toDateString() === now.toDateString()
  const options: Intl.DateTimeFormatOptions = today
    ? { hour: '2-digit', minute: '2-digit' }
    : { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' }
  return new Intl.DateTimeFormat(undefined, options).format(at)
}

/** `14:03 (2 min)`. */
export function since(iso: string | null | undefined, now: Date): string | null {
  if (!iso) return null
  const at = moment(iso, now)
  return at && `${at} (${duration(now.getTime() - new Date(iso).getTime())})`
}

/** `H.264 1920×1080, 25 fps`. */
export function track(track: Track): string {
  const parts = [track.codec]
  if (track.width && track.height) parts[0] += ` ${track.width}×${track.height}`
  if (track.fps) parts.push(`${Math.round(track.fps * 10) / 10} fps`)
  if (track.sample_rate_hz) parts.push(`${track.sample_rate_hz / 1000} kHz`)
  if (track.channels) parts.push(track.channels === 1 ? 'mono' : track.channels === 2 ? 'stereo' : `${track.channels} channels`)
  return parts.join(', ')
}

const DOORS: Record<string, string> = { rtsp: 'RTSP', hls: 'HLS', webrtc: 'WebRTC' }

/** `2 (1 RTSP, 1 HLS)`; null when nobody watches. */
export function readers(counts: Record<string, number> | undefined): string | null {
  const doors = Object.entries(counts ?? {}).filter(([, count]) => count > 0)
  if (doors.length === 0) return null
  const sum = doors.reduce((total, [, count]) => total + count, 0)
  return `${sum} (${doors.map(([door, count]) => `${count} ${DOORS[door] ?? door}`).join(', ')})`
}
