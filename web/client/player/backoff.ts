// Waiting times between attempts: doubling, with full jitter, so that a hundred players do not come back in step.

export interface BackoffOptions {
  firstMs: number
  mostMs: number
  random?: () => number
}

export class Backoff {
  readonly #options: BackoffOptions
  #attempts = 0

  constructor(options: BackoffOptions) {
    this.#options = options
  }

  get attempts(): number {
    return this.#attempts
  }

  /** The next wait in milliseconds: at least half of the step, so that two attempts never fall together. */
  next(): number {
    const { firstMs, mostMs, random = Math.random } = this.#options
    const step = Math.min(mostMs, firstMs * 2 ** Math.min(this.#attempts, 30))
    this.#attempts += 1
    return step / 2 + (step / 2) * random()
  }

  reset(): void {
    this.#attempts = 0
  }
}
