// What every way of playing offers the player. One class per tier; a tier tries once and reports, the player decides.

export type TierName = 'webrtc' | 'll-hls' | 'native'

export type TierState = 'idle' | 'loading' | 'playing' | 'failed' | 'closed'

export interface Failure {
  /** `codec`: this browser will never play it; `refused`: the server said no; the rest may pass. */
  kind: 'network' | 'refused' | 'media' | 'codec'
  message: string
  /** The HTTP status when the server answered. */
  status?: number
}

/** What another try will not change: no decoder, no such door. */
export function isLasting({ kind, status }: Failure): boolean {
  return kind === 'codec' || status === 404 || status === 405
}

export interface Quality {
  id: number
  label: string
}

export interface TierReadout {
  /** Seconds behind the newest part; NaN when unknown. */
  edge: number
  /** Wall time of the picture on screen, in ms since 1970; null when the stream does not say. */
  captured: number | null
  /** Measured download rate in bit/s; null when unknown. */
  bandwidth: number | null
}

export interface Tier {
  readonly name: TierName
  readonly state: TierState
  /** When the server began to send, where a tier knows; before that its silence says nothing about the tier. */
  readonly answeredAt?: number | null
  start(): Promise<void>
  /** Goes to the newest picture, after a pause or a sleep. */
  goLive(): void
  /** Stops asking for more without letting go of the picture. */
  hold(): void
  readout(): TierReadout
  qualities(): { list: Quality[]; chosen: number }
  /** -1 lets the player choose. */
  choose(quality: number): void
  close(): void
}

export interface TierEvents {
  onState(state: TierState, failure: Failure | null): void
  onQualities(): void
}
