// Turns notifications of this browser on and off. It is not there where the server or the browser offers none.
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Api } from '../../client/api'
import { Notifications, type PushState } from '../../client/push'
import { text } from '../text'

export function NotificationButton({ api, root }: { api: Api; root: URL }) {
  const notifications = useMemo(() => new Notifications(api, root), [api, root.href])
  const [state, set] = useState<PushState>('unavailable')
  const [trouble, complain] = useState('')
  const [busy, work] = useState(false)
  useEffect(() => {
    let gone = false
    void notifications.state().then(
      (found) => gone || set(found),
      () => undefined,
    )
    return () => {
      gone = true
    }
  }, [notifications])
  if (state === 'unavailable') return null
  if (state === 'denied') return <p class="hint">{text.notifications.denied}</p>
  const turn = async () => {
    work(true)
    complain('')
    if (state === 'on') {
      await notifications.disable().catch(() => undefined)
      set('off')
    } else {
      const reply = await notifications.enable()
      if (reply.kind === 'ok') set(reply.value)
      else if (reply.kind !== 'aborted') complain(reply.message)
    }
    work(false)
  }
  return (
    <p class="notifications">
      <button type="button" class="plain" disabled={busy} onClick={() => void turn()}>
        {state === 'on' ? text.notifications.disable : text.notifications.enable}
      </button>
      {trouble && <span class="hint">{text.notifications.failed(trouble)}</span>}
    </p>
  )
}
