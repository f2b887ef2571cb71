// Who this browser is to the server, and the way in and out.
import { useEffect, useState } from 'preact/hooks'
import type { Api } from '../../client/api'
import type { WhoAmI } from '../../client/types'
import { text } from '../text'
import { Login } from './Login'

type Known = { who: WhoAmI; mayLogIn: boolean }

export function Account({ api }: { api: Api }) {
  const [known, setKnown] = useState<Known | null>(null)
  const [trouble, setTrouble] = useState<string | null>(null)
  useEffect(() => {
    const controller = new AbortController()
    void ask(api, controller.signal).then((known) => controller.signal.aborted || setKnown(known))
    return () => controller.abort()
  }, [api])
  if (!known) return null
  const { who, mayLogIn } = known
  if (!who.user) {
    return mayLogIn ? (
      <details class="account">
        <summary>{text.login.submit}</summary>
        <Login api={api} onDone={() => location.reload()} />
      </details>
    ) : null
  }
  const leave = async () => {
    const reply = await api.logout()
    if (reply.kind === 'ok') return location.reload()
    setTrouble(reply.kind === 'aborted' ? null : reply.message)
  }
  return (
    <p class="account">
      <span class="account-name">{who.user}</span>
      {/* Whom the browser logs in by itself at each request cannot be logged out by a page. */}
      {who.csrf_token && (
        <button type="button" class="plain" onClick={() => void leave()}>
          {text.logout}
        </button>
      )}
      {trouble && <span role="alert">{trouble}</span>}
    </p>
  )
}

/** Nobody who is known is asked by the pages themselves; where auth is off there is nobody to be. */
async function ask(api: Api, signal: AbortSignal): Promise<Known | null> {
  const who = await api.whoami(signal)
  if (who.kind !== 'ok') return null
  const info = who.value.user ? null : await api.info(signal)
  const isOff = info?.kind === 'ok' && info.value.warnings?.some(({ code }) => code === 'auth_off')
  return { who: who.value, mayLogIn: !isOff }
}
