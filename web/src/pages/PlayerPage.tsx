// One camera: its picture, its addresses for other players, what the server knows about it.
import type { Api } from '../../client/api'
import { urlsOf } from '../../client/site'
import type { PathSnapshot, Track } from '../../client/types'
import { CopyField } from '../components/CopyField'
import { Icon } from '../components/Icon'
import { Notice } from '../components/Notice'
import { Stage } from '../components/Stage'
import { StateChip } from '../components/StateChip'
import { bitRate, duration, readers, seconds, since, track } from '../format'
import { useNow, usePoll } from '../hooks'
import { text } from '../text'
import { Trouble } from './StartPage'

const POLL_MS = 2_000
const INFO_POLL_MS = 60_000

export function PlayerPage({ api, root, name, token = null }: { api: Api; root: URL; name: string; token?: string | null }) {
  // The smaller rendition has pages and streams of its own, and is the same camera.
  const camera = name.replace(/\/sub$/, '')
  const { value: path, trouble } = usePoll((signal) => api.path(camera, signal), POLL_MS, camera)
  const { value: info, trouble: noInfo } = usePoll((signal) => api.info(signal), INFO_POLL_MS, 'info')
  const now = useNow(1_000)
  const urls = urlsOf(root, name, info, token)
  const title = camera === name ? (path?.title ?? name) : text.smaller(path?.title ?? camera)
  // Never heard of it, rather than gone for a moment.
  const unknown = trouble?.kind === 'problem' && trouble.status === 404 && !path
  return (
    <>
      <div class="headline">
        <a class="quiet" href={root.pathname} title={text.controls.back} aria-label={text.controls.back}>
          <Icon name="back" />
        </a>
        <h1>{title}</h1>
        {path && <StateChip state={path.state} />}
      </div>
      {unknown ? (
        <Notice title={text.noPath(name)} hint={text.noPathHint}>
          <a class="plain" href={root.pathname}>
            {text.allCameras}
          </a>
        </Notice>
      ) : (
        <>
          {trouble && <Trouble trouble={trouble} api={api} />}
          <div class="watch">
            {/* Which doors are open is known a moment later; a closed one is not knocked at. */}
            {(info || noInfo) && <Stage sources={urls} name={title} path={path} now={now} />}
            <aside>
              <Share urls={urls} loopback={isLoopback(root.hostname)} />
              {path && <Details path={path} now={now} />}
            </aside>
          </div>
          <p class="hint keys">{text.keys}</p>
        </>
      )}
    </>
  )
}

function Share({ urls, loopback }: { urls: ReturnType<typeof urlsOf>; loopback: boolean }) {
  const { share } = text
  return (
    <section class="panel">
      <h2>{share.title}</h2>
      {urls.rtsp && <CopyField name={share.rtsp} hint={share.rtspHint} value={urls.rtsp} />}
      {urls.whep && <CopyField name={share.whep} hint={share.whepHint} value={urls.whep} />}
      <CopyField name={share.hls} hint={share.hlsHint} value={urls.hls} />
      {urls.rtsp && (
        <CopyField name={share.command} hint={share.commandHint} value={`ffplay -fflags nobuffer -rtsp_transport tcp ${urls.rtsp}`} />
      )}
      {loopback && <p class="hint">{share.loopback}</p>}
    </section>
  )
}

function Details({ path, now }: { path: PathSnapshot; now: Date }) {
  const { details } = text
  const sub = path.renditions.find(({ rendition }) => rendition === 'sub')
  const rows: [string, string | null | undefined][] = [
    [details.state, text.states[path.state]],
    [details.since, since(path.since, now)],
    [details.readers, readers(path.readers) ?? details.nobody],
    [details.bitRate, path.bit_rate_bps ? bitRate(path.bit_rate_bps) : null],
    [details.lastPicture, path.last_frame_age_ms == null ? null : age(path.last_frame_age_ms)],
    [details.reconnects, path.reconnects ? `${path.reconnects}` : null],
    [details.lost, path.packets_lost ? `${path.packets_lost}` : null],
  ]
  return (
    <section class="panel">
      <h2>{details.title}</h2>
      {path.error && path.state === 'ready' && <Notice title={path.error.message} hint={path.error.hint} />}
      <dl class="facts">
        {rows.map(([name, value]) =>
          value ? (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ) : null,
        )}
      </dl>
      <h3>{details.tracks}</h3>
      <Tracks tracks={path.tracks} />
      {sub && (
        <>
          <h3>{details.sub(text.states[sub.state])}</h3>
          <Tracks tracks={sub.tracks} />
        </>
      )}
    </section>
  )
}

function Tracks({ tracks }: { tracks: Track[] }) {
  const { details } = text
  if (tracks.length === 0) return <p class="hint">{details.none}</p>
  return (
    <ul class="tracks">
      {tracks.map((item) => (
        <li key={item.id}>
          {track(item)}
          <span class="hint">
            {[item.bit_rate_bps ? bitRate(item.bit_rate_bps) : '', item.gop_ms ? details.gop(seconds(item.gop_ms / 1000)) : '']
              .filter(Boolean)
              .map((words) => ` · ${words}`)}
          </span>
          {Object.entries(item.left_out ?? {}).map(([door, reason]) => (
            <p key={door} class="hint">
              {details.leftOut(door.toUpperCase(), reason)}
            </p>
          ))}
        </li>
      ))}
    </ul>
  )
}

function age(ms: number): string {
  return ms < 1000 ? text.details.justNow : text.details.ago(duration(ms))
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host.startsWith('127.')
}

