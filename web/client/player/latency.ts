// How far behind the camera the picture is, and how sure that is.

export interface Latency {
  seconds: number
  /** `capture`: from the time stamps of the camera's pictures; `edge`: behind the newest part the server offers. */
  from: 'capture' | 'edge'
}

/**
 * `edge` is the distance to the newest part. `captured` is the wall time at which the picture on screen was taken; it
 * is only believed when this computer's clock and the server's agree: it can neither be nearer than the edge nor much
 * further away.
 */
export function latencyOf(edge: number, captured: number | null, now: number): Latency | null {
  if (!Number.isFinite(edge) || edge <= 0) return null
  const seconds = captured === null ? Number.NaN : (now - captured) / 1000
  const believable = seconds > edge - 0.3 && seconds < edge + 2
  return believable ? { seconds, from: 'capture' } : { seconds: edge, from: 'edge' }
}

/** The mark beside the number: under a second, under three, more. */
export function grade(latency: Latency): 'good' | 'fair' | 'poor' {
  if (latency.seconds < 1) return 'good'
  return latency.seconds < 3 ? 'fair' : 'poor'
}
