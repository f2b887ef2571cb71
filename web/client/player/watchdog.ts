// Tells from the count of shown frames whether the picture moves. Time comes in as an argument.

export type Verdict = 'moving' | 'late' | 'dead'

export interface WatchdogOptions {
  /** No new frame for so long: say so. */
  lateMs: number
  /** No new frame for so long: start again. */
  deadMs: number
}

export class Watchdog {
  readonly #options: WatchdogOptions
  #frames = -1
  #movedAt = 0

  constructor(options: WatchdogOptions) {
    this.#options = options
  }

  /** Forgets the past: the next count is the first. */
  reset(now: number): void {
    this.#frames = -1
    this.#movedAt = now
  }

  /** `frames` is any number that rises while pictures are shown. */
  observe(frames: number, now: number): Verdict {
    if (frames !== this.#frames) {
      this.#frames = frames
      this.#movedAt = now
    }
    const still = now - this.#movedAt
    if (still >= this.#options.deadMs) return 'dead'
    return still >= this.#options.lateMs ? 'late' : 'moving'
  }
}
