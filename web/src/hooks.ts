// What components share: polling the API, the time, the player's life.
import { useEffect, useRef, useState } from 'preact/hooks'
import { Backoff } from '../client/player/backoff'
import { Player, type PlayerSnapshot, type Sources } from '../client/player/player'
import type { Reply } from '../client/api'

export interface Polled<T> {
  /** The newest good answer; kept while later ones fail. */
  value: T | null
  /** What the newest answer was when it was not good. */
  trouble: Exclude<Reply<T>, { kind: 'ok' | 'aborted' }> | null
}

/** Asks again and again: `everyMs` after a good answer, with growing waits after a bad one, not in a hidden tab. */
export function usePoll<T>(ask: (signal: AbortSignal) => Promise<Reply<T>>, everyMs: number, key: string): Polled<T> {
  const [polled, set] = useState<Polled<T>>({ value: null, trouble: null })
  useEffect(() => {
    const controller = new AbortController()
    const backoff = new Backoff({ firstMs: everyMs, mostMs: 15_000 })
    let timer: ReturnType<typeof setTimeout> | undefined
    let asking = false
    const once = async () => {
      clearTimeout(timer)
      if (asking || document.hidden) return
      asking = true
      const reply = await ask(controller.signal)
      asking = false
      if (controller.signal.aborted || reply.kind === 'aborted') return
      if (reply.kind === 'ok') {
        backoff.reset()
        set({ value: reply.value, trouble: null })
      } else {
        set((before) => ({ value: before.value, trouble: reply }))
      }
      timer = setTimeout(() => void once(), reply.kind === 'ok' ? everyMs : backoff.next())
    }
    const wake = () => void once()
    document.addEventListener('visibilitychange', wake)
    window.addEventListener('online', wake)
    wake()
    return () => {
      controller.abort()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', wake)
      window.removeEventListener('online', wake)
    }
  }, [key])
  return polled
}

/** The time, renewed every `everyMs`, for "2 min ago". */
export function useNow(everyMs: number): Date {
  const [now, set] = useState(() => new Date())
  useEffect(() => {
    const timer = setInterval(() => set(new Date()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return now
}

/** A player for as long as the component stands. */
export function usePlayer(sources: Sources) {
  const video = useRef<HTMLVideoElement>(null)
  const still = useRef<HTMLCanvasElement>(null)
  const player = useRef<Player | null>(null)
  const [snapshot, set] = useState<PlayerSnapshot | null>(null)
  useEffect(() => {
    const element = video.current
    if (!element) return
    const made = new Player({
      video: element,
      sources,
      onChange: set,
      onRelease: () => keepPicture(element, still.current),
    })
    player.current = made
    made.start()
    const leave = () => made.close()
    window.addEventListener('pagehide', leave)
    // A page that comes back from the browser's page cache has lost its player.
    const back = (event: PageTransitionEvent) => event.persisted && location.reload()
    window.addEventListener('pageshow', back)
    return () => {
      window.removeEventListener('pagehide', leave)
      window.removeEventListener('pageshow', back)
      made.close()
    }
    // Which doors are open is learnt a moment later: no reason to begin anew.
  }, [sources.hls])
  return { video, still, player, snapshot }
}

/** Copies what is on screen, so that a lost camera leaves its last picture and not a black hole. */
function keepPicture(video: HTMLVideoElement, still: HTMLCanvasElement | null): void {
  if (!still || video.videoWidth === 0 || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return
  still.width = video.videoWidth
  still.height = video.videoHeight
  still.getContext('2d')?.drawImage(video, 0, 0)
}
