// All cameras, each with its state and the way to its picture.
import type { Api } from '../../client/api'
import type { PathSnapshot } from '../../client/types'
import { urlsOf } from '../../client/site'
import { Icon } from '../components/Icon'
import { Login } from '../components/Login'
import { Notice } from '../components/Notice'
import { NotificationButton } from '../components/NotificationButton'
import { StateChip } from '../components/StateChip'
import { bitRate, readers, since, track } from '../format'
import { useNow, usePoll } from '../hooks'
import { text } from '../text'

const POLL_MS = 2_000
const INFO_POLL_MS = 60_000

export function StartPage({ api, root }: { api: Api; root: URL }) {
  const { value: paths, trouble } = usePoll((signal) => api.paths(signal), POLL_MS, 'paths')
  const { value: info } = usePoll((signal) => api.info(signal), INFO_POLL_MS, 'info')
  const now = useNow(5_000)
  return (
    <>
      <div class="headline">
        <h1>{text.cameras}</h1>
        {paths && paths.length > 0 && <p class="hint">{summary(paths)}</p>}
      </div>
      {trouble && <Trouble trouble={trouble} api={api} />}
      {!paths && !trouble && <p class="hint">{text.loading}</p>}
      {info?.warnings?.map(({ code, message }) => (
        <Notice key={code} title={message} tone="warn" />
      ))}
      {paths?.length === 0 && <Empty />}
      {paths && paths.length > 0 && (
        <ul class={trouble ? 'cards cards-stale' : 'cards'}>
          {paths.map((path) => (
            <li key={path.name}>
              <Card path={path} root={root} now={now} />
            </li>
          ))}
        </ul>
      )}
      <NotificationButton api={api} root={root} />
    </>
  )
}

interface TroubleProps {
  trouble: NonNullable<ReturnType<typeof usePoll>['trouble']>
  api: Api
}

export function Trouble({ trouble, api }: TroubleProps) {
  if (trouble.kind === 'unreachable') return <Notice title={text.noServer} hint={text.noServerHint} />
  const right = trouble.status === 401 || trouble.status === 403
  return (
    <Notice title={right ? text.noRight : trouble.message} message={right ? trouble.message : null} hint={trouble.hint}>
      {trouble.status === 401 && <Login api={api} onDone={() => location.reload()} />}
    </Notice>
  )
}

function Card({ path, root, now }: { path: PathSnapshot; root: URL; now: Date }) {
  const { tracks } = path
  const watching = readers(path.readers)
  const at = path.state === 'ready' || path.state === 'idle' ? null : since(path.since, now)
  const hint = path.error ? path.error.hint : text.stateHints[path.state]
  return (
    <a class={`card card-${path.state}`} href={new URL(urlsOf(root, path.name, null).page).pathname}>
      <span class="card-head">
        <span class="card-name">{breakable(path.title ?? path.name)}</span>
        <StateChip state={path.state} />
      </span>
      {path.title && path.title !== path.name && <span class="hint">{path.name}</span>}
      {tracks.length > 0 && (
        <span class="card-line">
          <Icon name="video" size={16} />
          <span>{tracks.map(track).join(' · ')}</span>
        </span>
      )}
      {path.error && <span class="card-error">{path.error.message}</span>}
      {hint && <span class="hint">{hint}</span>}
      <span class="card-foot">
        {at && <span>{`${text.details.since.toLowerCase()} ${at}`}</span>}
        {path.state === 'ready' && path.bit_rate_bps ? <span>{bitRate(path.bit_rate_bps)}</span> : null}
        {watching && (
          <span class="card-line">
            <Icon name="eye" size={16} />
            <span class="unseen">{text.details.readers}</span>
            {watching}
          </span>
        )}
      </span>
    </a>
  )
}

function Empty() {
  return (
    <Notice title={text.empty.title} message={text.empty.body} tone="plain">
      <pre>{text.empty.sample}</pre>
    </Notice>
  )
}

/** A long name breaks after a slash rather than within a word. */
function breakable(name: string) {
  return name.split(/(?<=\/)/).map((piece, index) => [index > 0 && <wbr />, piece])
}

function summary(paths: PathSnapshot[]): string {
  const count = (states: string[]) => paths.filter((path) => states.includes(path.state)).length
  const parts = [
    [count(['ready']), text.states.ready],
    [count(['idle']), text.states.idle],
    [count(['waiting']), text.states.waiting],
    [count(['stalled']), text.states.stalled],
    [count(['lost']), text.states.lost],
  ] as const
  return parts
    .filter(([number]) => number > 0)
    .map(([number, word]) => `${number} ${word.toLowerCase()}`)
    .join(' · ')
}
