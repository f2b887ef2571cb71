// The picture with everything on top of it: state, latency, controls, figures, and what is wrong when it is dark.
import { useEffect, useRef, useState } from 'preact/hooks'
import { grade } from '../../client/player/latency'
import type { PlayerSnapshot, PlayerState, Sources } from '../../client/player/player'
import type { Failure } from '../../client/player/tier'
import type { PathSnapshot } from '../../client/types'
import { bitRate, seconds, since } from '../format'
import { usePlayer } from '../hooks'
import { text } from '../text'
import { Icon, type IconName } from './Icon'

interface Props {
  sources: Sources
  name: string
  path: PathSnapshot | null
  now: Date
}

export function Stage({ sources, name, path, now }: Props) {
  const { video, still, player, snapshot } = usePlayer(sources)
  const stage = useRef<HTMLDivElement>(null)
  const [figures, setFigures] = useState(false)
  const [full, setFull] = useState(false)
  const state = snapshot?.state ?? 'connecting'

  useEffect(() => {
    const onChange = () => setFull(document.fullscreenElement === stage.current)
    document.addEventListener('fullscreenchange', onChange)
    return () => document.removeEventListener('fullscreenchange', onChange)
  }, [])

  // A camera that came back need not wait for the next attempt of the player.
  const ready = path?.state === 'ready'
  useEffect(() => {
    if (ready) player.current?.retry()
  }, [ready])

  const actions: Record<string, () => void> = {
    k: () => (isPlaying(state) ? player.current?.pause() : player.current?.resume()),
    m: () => snapshot && player.current?.setMuted(!snapshot.muted),
    f: () => void toggleFull(stage.current, video.current),
    p: () => void togglePip(video.current),
    i: () => setFigures((shown) => !shown),
  }
  const latest = useRef(actions)
  latest.current = actions
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const typing = event.target instanceof Element && event.target.closest('input, select, textarea')
      if (event.ctrlKey || event.metaKey || event.altKey || typing) return
      const action = latest.current[event.key.toLowerCase()]
      if (!action) return
      event.preventDefault()
      action()
    }
    window.addEventListener('keydown', onKey)
    return () => window.removeEventListener('keydown', onKey)
  }, [])

  return (
    <section class={`stage stage-${state}`} ref={stage} aria-label={`${name}: ${text.player[state]}`}>
      <video ref={video} muted playsInline disableRemotePlayback aria-label={name} onDblClick={actions['f']} />
      <canvas ref={still} class="still" aria-hidden="true" />
      <Cover state={state} snapshot={snapshot} path={path} now={now} onRetry={() => player.current?.retry()} onPlay={actions['k']!} />
      <div class="marks">
        <span class={`mark mark-${state}`} role="status">
          <Icon name={MARKS[state]} size={12} />
          {text.player[state]}
          {state === 'reconnecting' && snapshot && snapshot.attempt > 1 ? ` (${snapshot.attempt})` : ''}
        </span>
        {snapshot?.latency && (
          <span class={`mark mark-${grade(snapshot.latency)}`} title={text.latency[snapshot.latency.from]}>
            <span class="unseen">{text.figures.latency}</span>
            {seconds(snapshot.latency.seconds)}
          </span>
        )}
        {snapshot?.tier && (
          <span class="mark" title={snapshot.fellBack ? whyFellBack(snapshot.fellBack) : text.tiers[snapshot.tier]}>
            <span class="unseen">{text.figures.mode}</span>
            {text.modes[snapshot.tier]}
          </span>
        )}
        {snapshot?.fellBack && (
          <button type="button" class="mark" title={whyFellBack(snapshot.fellBack)} onClick={() => player.current?.retryBest()}>
            {text.controls.retryBest}
          </button>
        )}
      </div>
      {figures && snapshot && <FiguresPanel snapshot={snapshot} />}
      <div class="controls">
        {isPlaying(state) ? (
          <Control icon="pause" label={text.controls.pause} onClick={actions['k']!} />
        ) : (
          <Control icon="play" label={text.controls.play} onClick={actions['k']!} disabled={!isPlayable(state)} />
        )}
        {snapshot?.hasAudio && (
          <Control
            icon={snapshot.muted ? 'muted' : 'sound'}
            label={snapshot.muted ? text.controls.unmute : text.controls.mute}
            onClick={actions['m']!}
          />
        )}
        <span class="gap" />
        {snapshot && snapshot.qualities.length > 1 && (
          <select
            aria-label={text.controls.quality}
            value={snapshot.quality}
            onChange={(event) => player.current?.choose(Number(event.currentTarget.value))}
          >
            <option value={-1}>{text.controls.auto}</option>
            {snapshot.qualities.map((quality) => (
              <option key={quality.id} value={quality.id}>
                {quality.label}
              </option>
            ))}
          </select>
        )}
        <Control icon="stats" label={text.controls.stats} onClick={actions['i']!} pressed={figures} />
        {document.pictureInPictureEnabled && <Control icon="pip" label={text.controls.pip} onClick={actions['p']!} />}
        <Control
          icon={full ? 'leaveFull' : 'full'}
          label={full ? text.controls.leaveFull : text.controls.full}
          onClick={actions['f']!}
        />
      </div>
    </section>
  )
}

interface ControlProps {
  icon: IconName
  label: string
  onClick: () => void
  pressed?: boolean
  disabled?: boolean
}

function Control({ icon, label, onClick, pressed, disabled }: ControlProps) {
  return (
    <button type="button" title={label} aria-label={label} aria-pressed={pressed} disabled={disabled} onClick={onClick}>
      <Icon name={icon} />
    </button>
  )
}

interface CoverProps {
  state: PlayerState
  snapshot: PlayerSnapshot | null
  path: PathSnapshot | null
  now: Date
  onRetry: () => void
  onPlay: () => void
}

/** What lies over a picture that does not move: the camera's own trouble first, then the player's. */
function Cover({ state, snapshot, path, now, onRetry, onPlay }: CoverProps) {
  if (state === 'live') return null
  if (state === 'paused' || state === 'blocked') {
    return (
      <div class="cover">
        <button type="button" class="big" onClick={onPlay}>
          <Icon name="play" size={32} />
          {state === 'paused' ? text.controls.goLive : text.player.blocked}
        </button>
      </div>
    )
  }
  const off = path !== null && (path.state === 'lost' || path.state === 'stalled')
  const failed = state === 'failed'
  if (off || path?.error) {
    const at = since(path.since, now)
    return (
      <div class="cover">
        <div class="cover-card">
          <strong>{`${text.states[path.state]}${at ? ` ${text.details.since.toLowerCase()} ${at}` : ''}`}</strong>
          <p>{path.error?.message ?? text.stateHints[path.state]}</p>
          {path.error?.hint && <p class="hint">{path.error.hint}</p>}
          {state === 'reconnecting' && <Retry onRetry={onRetry} />}
        </div>
      </div>
    )
  }
  if (failed || (state === 'reconnecting' && snapshot?.reason)) {
    const reason = snapshot?.reason
    const right = reason?.status === 401 || reason?.status === 403
    return (
      <div class="cover">
        <div class="cover-card">
          <strong>{failed ? text.player.failed : text.player.reconnecting}</strong>
          <p>{right ? text.reasons.right : reason?.status === 422 ? reason.message : text.reasons[reason?.kind ?? 'network']}</p>
          {reason?.kind === 'codec' && <p class="hint">{text.codecHint}</p>}
          <Retry onRetry={onRetry} />
        </div>
      </div>
    )
  }
  return (
    <div class="cover">
      <span class="spinner" aria-hidden="true" />
      <p>{path && path.state !== 'ready' ? text.stateHints[path.state] : text.player[state]}</p>
    </div>
  )
}

function Retry({ onRetry }: { onRetry: () => void }) {
  return (
    <button type="button" class="plain" onClick={onRetry}>
      {text.controls.retry}
    </button>
  )
}

function whyFellBack({ kind, message }: Failure): string {
  return `${text.fellBack[kind]} (${message})`
}

function FiguresPanel({ snapshot }: { snapshot: PlayerSnapshot }) {
  const { figures, latency, tier, fellBack } = snapshot
  const dropped = figures.frames > 0 ? ((100 * figures.dropped) / figures.frames).toFixed(1) : '0'
  const rows: [string, string][] = [
    [text.figures.mode, tier ? text.tiers[tier] : '–'],
    ...(fellBack ? [[text.figures.why, whyFellBack(fellBack)] as [string, string]] : []),
    [text.figures.picture, figures.width ? `${figures.width}×${figures.height}, ${figures.fps.toFixed(0)} fps` : '–'],
    [text.figures.latency, latency ? `${latency.seconds.toFixed(2)} s` : '–'],
    [text.figures.buffer, `${figures.bufferS.toFixed(2)} s`],
    [text.figures.first, figures.firstPictureMs === null ? '–' : `${Math.round(figures.firstPictureMs)} ms`],
    [text.figures.dropped, `${figures.dropped} of ${figures.frames} (${dropped} %)`],
    [text.figures.download, figures.bandwidthBps ? bitRate(figures.bandwidthBps) : '–'],
    [text.figures.stalls, `${figures.stalls}`],
    [text.figures.reconnects, `${figures.reconnects}`],
  ]
  return (
    <dl class="figures" aria-label={text.figures.title}>
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

const MARKS: Record<PlayerState, IconName> = {
  idle: 'idle',
  connecting: 'waiting',
  live: 'ready',
  stalled: 'stalled',
  reconnecting: 'waiting',
  paused: 'pause',
  blocked: 'play',
  failed: 'lost',
  closed: 'idle',
}

function isPlaying(state: PlayerState): boolean {
  return state === 'live' || state === 'stalled'
}

function isPlayable(state: PlayerState): boolean {
  return state === 'paused' || state === 'blocked' || state === 'idle'
}

async function toggleFull(stage: HTMLElement | null, video: HTMLVideoElement | null): Promise<void> {
  try {
    if (document.fullscreenElement) await document.exitFullscreen()
    else if (stage?.requestFullscreen) await stage.requestFullscreen()
    // iPhones know full screen only for the video itself.
    else (video as (HTMLVideoElement & { webkitEnterFullscreen?: () => void }) | null)?.webkitEnterFullscreen?.()
  } catch {
    // Refused by the browser (an embedding page without the right): nothing to do.
  }
}

async function togglePip(video: HTMLVideoElement | null): Promise<void> {
  try {
    if (document.pictureInPictureElement) await document.exitPictureInPicture()
    else await video?.requestPictureInPicture()
  } catch {
    // Not before the first picture: the button simply does nothing yet.
  }
}
